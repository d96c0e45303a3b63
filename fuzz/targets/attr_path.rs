//! A path that parses prints to a text that parses to the same path; what it names, it names by
//! its canonical spelling too.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use rollcall::scim::attr_path::{AttrPath, path_length};
use rollcall::scim::patch::path::PatchPath;
use rollcall::scim::policy::STANDARD;
use rollcall::scim::projection::Projection;
use rollcall::scim::resource_type::{Model, Resolved};

static MODEL: LazyLock<Model> = LazyLock::new(|| Model::new(&STANDARD, &[]).expect("a model"));

fuzz_target!(|text: &str| {
    assert!(text.is_char_boundary(path_length(text)));
    match AttrPath::parse(text) {
        Ok(path) => {
            assert_eq!(path.to_string(), text);
            for resource_type in MODEL.types() {
                if let Some(Resolved::Attribute(target)) = resource_type.resolve(&path) {
                    let canonical = AttrPath::parse(&target.path()).expect("a path");
                    assert_eq!(resource_type.resolve(&canonical), Some(Resolved::Attribute(target)));
                }
            }
        }
        Err(error) => assert!(error.at <= text.len(), "{error}"),
    }
    match PatchPath::parse(text) {
        Ok(path) => {
            let printed = path.to_string();
            assert_eq!(PatchPath::parse(&printed).as_ref(), Ok(&path), "{printed}");
        }
        Err(error) => assert!(error.at <= text.len(), "{error}"),
    }
    let _ = Projection::parse(&[text], &[], &MODEL.types());
    let _ = Projection::parse(&[], &[text], &MODEL.types());
});
