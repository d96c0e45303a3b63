//! One source file: its imports, type names, string literals and method calls, without tests.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Item, Meta, UseTree};

/// A path as names: `crate::store::keys` is `["crate", "store", "keys"]`.
pub type Names = Vec<String>;

/// What a source file holds outside `#[cfg(test)]`.
#[derive(Debug, Default)]
pub struct SourceFile {
    /// The path below `src`, with `/`.
    pub path: String,
    /// The module that the file is: `scim/filter/mod.rs` is `["scim", "filter"]`.
    pub module: Names,
    /// The lines of the file, tests included.
    pub lines: usize,
    /// The paths in `use` items and in code. Those of the crate begin with `crate`.
    pub imports: BTreeSet<Names>,
    /// The names that the file passes on with `pub use`, and what they stand for.
    pub reexports: BTreeMap<String, Names>,
    /// The structs, enums, unions, traits and type aliases that the file defines.
    pub types: Vec<String>,
    /// The functions, constants and statics that the file defines.
    pub values: Vec<String>,
    /// The string literals.
    pub literals: Vec<String>,
    /// The names of the methods that are called without arguments.
    pub calls_without_arguments: BTreeSet<String>,
    /// The modules that exist for tests alone.
    pub test_modules: Vec<Names>,
}

/// The module that a file is.
fn module_of(path: &str) -> Names {
    let mut names: Names = path.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if names.last().is_some_and(|last| last == "mod" || (names.len() == 1 && last == "lib")) {
        names.pop();
    }
    names
}

impl SourceFile {
    /// Reads the text of a file at a path below `src`.
    pub fn parse(path: &str, text: &str) -> Self {
        let ast = syn::parse_file(text).expect(path);
        let module = module_of(path);
        let mut reader = Reader {
            scope: module.clone(),
            aliases: BTreeMap::new(),
            file: Self { path: path.to_owned(), module, lines: text.lines().count(), ..Self::default() },
        };
        // A name can be used above the `use` that brings it.
        reader.collect_aliases(&ast.items);
        reader.visit_file(&ast);
        reader.file
    }

    /// Whether the file is the page of a folder, which declares and passes on its children.
    pub fn is_folder_page(&self) -> bool {
        self.path.ends_with("mod.rs") || self.path == "lib.rs"
    }
}

struct Reader {
    /// The module that is read, inline modules included.
    scope: Names,
    /// The names that `use` brings into the file, and what they stand for.
    aliases: BTreeMap<String, Names>,
    file: SourceFile,
}

/// Whether an item exists for tests alone: `#[cfg(test)]`, or `#[cfg(all(test, …))]`.
fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) if list.path.is_ident("cfg") => {
            let condition = list.tokens.to_string().replace(' ', "");
            condition == "test" || condition.starts_with("all(test,")
        }
        _ => false,
    })
}

/// The attributes of an item that can be left out of a build.
fn attributes_of(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// The paths in a `use` tree, each with the name that it brings. A glob ends in `*`.
fn expand(tree: &UseTree, before: &Names, found: &mut Vec<(String, Names)>) {
    let with = |name: String| [before.clone(), vec![name]].concat();
    match tree {
        UseTree::Path(path) => expand(&path.tree, &with(path.ident.to_string()), found),
        UseTree::Name(name) if name.ident == "self" => {
            found.push((before.last().cloned().unwrap_or_default(), before.clone()));
        }
        UseTree::Name(name) => found.push((name.ident.to_string(), with(name.ident.to_string()))),
        UseTree::Rename(rename) if rename.ident == "self" => {
            found.push((rename.rename.to_string(), before.clone()));
        }
        UseTree::Rename(rename) => found.push((rename.rename.to_string(), with(rename.ident.to_string()))),
        UseTree::Glob(_) => found.push(("*".to_owned(), with("*".to_owned()))),
        UseTree::Group(group) => group.items.iter().for_each(|tree| expand(tree, before, found)),
    }
}

impl Reader {
    /// The path from the root of the crate. `None` for a path that is not of this crate.
    fn absolute(&self, names: &[String]) -> Option<Names> {
        let mut base = match names.first()?.as_str() {
            "crate" | "rollcall" => return Some([&["crate".to_owned()], &names[1..]].concat()),
            "self" | "super" => self.scope.clone(),
            _ => return None,
        };
        let mut rest = names;
        while let [first, more @ ..] = rest {
            match first.as_str() {
                "self" => {}
                "super" => drop(base.pop()),
                _ => break,
            }
            rest = more;
        }
        Some([&["crate".to_owned()], base.as_slice(), rest].concat())
    }

    fn collect_aliases(&mut self, items: &[Item]) {
        for item in items {
            if let Item::Use(item) = item
                && !is_for_tests(&item.attrs)
            {
                let mut found = Vec::new();
                expand(&item.tree, &Vec::new(), &mut found);
                for (name, path) in found {
                    let path = self.absolute(&path).unwrap_or(path);
                    self.aliases.insert(name, path);
                }
            }
        }
    }

    /// A path of at least two names in the code. A first name that a `use` brings stands for its path.
    fn add_path(&mut self, names: &[String]) {
        let [first, rest @ ..] = names else { return };
        if rest.is_empty() {
            return;
        }
        let full = match (self.absolute(names), self.aliases.get(first)) {
            (Some(full), _) => full,
            (None, Some(alias)) => [alias.as_slice(), rest].concat(),
            (None, None) => names.to_vec(),
        };
        self.add_import(full);
    }

    /// A path that does not begin with `crate` may name a child of this module, or another crate: both
    /// are added.
    fn add_import(&mut self, path: Names) {
        if path[0] != "crate" {
            self.file.imports.insert([&["crate".to_owned()], self.scope.as_slice(), &path].concat());
        }
        self.file.imports.insert(path);
    }

    /// Reads what is in a macro call: paths, string literals and calls without arguments.
    fn add_tokens(&mut self, tokens: &TokenStream) {
        let trees: Vec<TokenTree> = tokens.clone().into_iter().collect();
        let is_punct =
            |at: usize, c: char| matches!(trees.get(at), Some(TokenTree::Punct(p)) if p.as_char() == c);
        let mut at = 0;
        while at < trees.len() {
            match &trees[at] {
                TokenTree::Ident(first) => {
                    let mut names = vec![first.to_string()];
                    while is_punct(at + 1, ':')
                        && is_punct(at + 2, ':')
                        && let Some(TokenTree::Ident(next)) = trees.get(at + 3)
                    {
                        names.push(next.to_string());
                        at += 3;
                    }
                    let is_method = names.len() == 1 && at > 0 && is_punct(at - 1, '.');
                    if let Some(TokenTree::Group(group)) = trees.get(at + 1)
                        && is_method
                        && group.delimiter() == Delimiter::Parenthesis
                        && group.stream().is_empty()
                    {
                        self.file.calls_without_arguments.insert(names[0].clone());
                    }
                    self.add_path(&names);
                }
                TokenTree::Group(group) => self.add_tokens(&group.stream()),
                TokenTree::Literal(literal) => {
                    if let Ok(text) = syn::parse_str::<syn::LitStr>(&literal.to_string()) {
                        self.file.literals.push(text.value());
                    }
                }
                TokenTree::Punct(_) => {}
            }
            at += 1;
        }
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast Item) {
        if is_for_tests(attributes_of(item)) {
            if let Item::Mod(module) = item {
                let name = module.ident.to_string();
                self.file.test_modules.push([self.scope.clone(), vec![name]].concat());
            }
            return;
        }
        match item {
            Item::Struct(item) => self.file.types.push(item.ident.to_string()),
            Item::Enum(item) => self.file.types.push(item.ident.to_string()),
            Item::Union(item) => self.file.types.push(item.ident.to_string()),
            Item::Trait(item) => self.file.types.push(item.ident.to_string()),
            Item::Type(item) => self.file.types.push(item.ident.to_string()),
            Item::Fn(item) => self.file.values.push(item.sig.ident.to_string()),
            Item::Const(item) => self.file.values.push(item.ident.to_string()),
            Item::Static(item) => self.file.values.push(item.ident.to_string()),
            _ => {}
        }
        visit::visit_item(self, item);
    }

    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        self.scope.push(module.ident.to_string());
        visit::visit_item_mod(self, module);
        self.scope.pop();
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        if !is_for_tests(&function.attrs) {
            visit::visit_impl_item_fn(self, function);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let mut found = Vec::new();
        expand(&item.tree, &Vec::new(), &mut found);
        let passes_on = !matches!(item.vis, syn::Visibility::Inherited);
        for (name, path) in found {
            match self.absolute(&path) {
                Some(path) if passes_on && self.file.is_folder_page() => {
                    self.file.reexports.insert(name, path);
                }
                None if passes_on && self.file.is_folder_page() => {
                    let child = [&["crate".to_owned()], self.scope.as_slice(), &path].concat();
                    self.file.reexports.insert(name, child);
                }
                Some(path) => self.add_import(path),
                None => self.add_import(path),
            }
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Names = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.add_path(&names);
        visit::visit_path(self, path);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        if call.args.is_empty() {
            self.file.calls_without_arguments.insert(call.method.to_string());
        }
        visit::visit_expr_method_call(self, call);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.visit_path(&call.path);
        self.add_tokens(&call.tokens);
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        // A doc comment is an attribute with a value: it imports nothing.
        if let Meta::List(list) = &attribute.meta {
            self.add_tokens(&list.tokens);
        }
    }

    fn visit_lit_str(&mut self, literal: &'ast syn::LitStr) {
        self.file.literals.push(literal.value());
    }
}
