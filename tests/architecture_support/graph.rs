//! The files of `src` and who imports whom.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::source::{Names, SourceFile};

/// All files, without those that exist for tests alone.
pub struct Sources {
    /// By their paths below `src`.
    pub files: BTreeMap<String, SourceFile>,
    by_module: BTreeMap<Names, String>,
}

impl Sources {
    /// Reads every file below a folder.
    pub fn read(folder: &Path) -> Self {
        let mut texts = Vec::new();
        collect_texts(folder, folder, &mut texts);
        Self::of(texts.iter().map(|(path, text)| (path.as_str(), text.as_str())))
    }

    /// Reads files from their paths below `src` and their texts.
    pub fn of<'t>(texts: impl IntoIterator<Item = (&'t str, &'t str)>) -> Self {
        let files: Vec<SourceFile> =
            texts.into_iter().map(|(path, text)| SourceFile::parse(path, text)).collect();
        let for_tests: BTreeSet<Names> =
            files.iter().flat_map(|file| file.test_modules.iter().cloned()).collect();
        let is_for_tests =
            |file: &SourceFile| (1..=file.module.len()).any(|end| for_tests.contains(&file.module[..end]));
        let files: BTreeMap<String, SourceFile> = files
            .into_iter()
            .filter(|file| !is_for_tests(file))
            .map(|file| (file.path.clone(), file))
            .collect();
        let by_module = files.values().map(|file| (file.module.clone(), file.path.clone())).collect();
        Self { files, by_module }
    }

    /// The files that a file imports, itself left out.
    pub fn imported_by(&self, file: &SourceFile) -> BTreeSet<&str> {
        let found = file.imports.iter().filter_map(|path| self.file_of(path));
        found.filter(|path| *path != file.path).collect()
    }

    /// The file that a path leads to, through what folders pass on. `None` for a path of another crate,
    /// and for one that names nothing but a folder.
    fn file_of(&self, path: &Names) -> Option<&str> {
        let names = path.strip_prefix(&["crate".to_owned()])?;
        let (end, file) = (0..=names.len())
            .rev()
            .find_map(|end| Some((end, self.files.get(self.by_module.get(&names[..end])?)?)))?;
        if !file.is_folder_page() {
            return Some(&file.path);
        }
        let name = names.get(end)?;
        match file.reexports.get(name) {
            Some(target) => self.file_of(&[target.as_slice(), &names[end + 1..]].concat()),
            // Another crate's name that was tried as a child of the module.
            None if !defines(file, name) => None,
            None => Some(&file.path),
        }
    }

    /// The circles of imports: sets of files that reach one another.
    pub fn circles(&self) -> Vec<BTreeSet<&str>> {
        let imports: BTreeMap<&str, BTreeSet<&str>> =
            self.files.values().map(|file| (file.path.as_str(), self.imported_by(file))).collect();
        let mut reached: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (&path, imported) in &imports {
            let mut open: Vec<&str> = imported.iter().copied().collect();
            let mut seen = BTreeSet::new();
            while let Some(next) = open.pop() {
                if seen.insert(next) {
                    open.extend(&imports[next]);
                }
            }
            reached.insert(path, seen);
        }
        let in_circle = reached.keys().filter(|path| reached[**path].contains(**path));
        let circles: BTreeSet<BTreeSet<&str>> = in_circle
            .map(|path| {
                let others = reached[path].iter().filter(|other| reached[**other].contains(path));
                others.copied().collect()
            })
            .collect();
        circles.into_iter().collect()
    }
}

/// Whether a folder's page itself defines the name. A glob stands for whatever it defines.
fn defines(file: &SourceFile, name: &String) -> bool {
    name == "*" || file.types.contains(name) || file.values.contains(name)
}

fn collect_texts(root: &Path, folder: &Path, texts: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect_texts(root, &path, texts);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root).expect("below the root").to_string_lossy().replace('\\', "/");
            texts.push((name, fs::read_to_string(&path).expect("a text")));
        }
    }
}
