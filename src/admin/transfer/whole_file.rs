//! A file that is replaced as a whole, or not at all.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// A file that is being written. Until it is finished, what was there before stays.
pub struct WholeFile {
    path: PathBuf,
    /// Where it is written. `None` where the path is a pipe or a device, which is written at once.
    temporary: Option<PathBuf>,
    file: BufWriter<File>,
}

impl WholeFile {
    /// Begins a file, beside the one that it will replace.
    ///
    /// # Errors
    /// A folder that does not exist, or that may not be written.
    pub fn create(path: &Path) -> io::Result<Self> {
        let is_replaceable = path.metadata().map_or(true, |found| found.is_file());
        // A link stays a link: what it names is replaced.
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let temporary = is_replaceable.then(|| temporary_path(&path));
        // What it holds is of persons: its owner alone may read it.
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(temporary.as_ref().unwrap_or(&path))?;
        let whole = Self { path, temporary, file: BufWriter::new(file) };
        // Who may read the old file may read the new one.
        if let (Some(_), Ok(old)) = (&whole.temporary, whole.path.metadata()) {
            whole.file.get_ref().set_permissions(old.permissions())?;
        }
        Ok(whole)
    }

    /// Whether it is written under a hidden name until it is finished.
    pub const fn is_hidden(&self) -> bool {
        self.temporary.is_some()
    }

    /// Puts the file into its place.
    ///
    /// # Errors
    /// Those of the file system. Then what was there before is still there.
    pub fn finish(mut self) -> io::Result<()> {
        self.file.flush()?;
        match self.temporary.take() {
            Some(temporary) => std::fs::rename(&temporary, &self.path).inspect_err(|_| remove(&temporary)),
            None => Ok(()),
        }
    }
}

impl Write for WholeFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for WholeFile {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            remove(temporary);
        }
    }
}

/// A name in the same folder, so that renaming it needs no copy.
fn temporary_path(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}", std::process::id()));
    path.with_file_name(name)
}

fn remove(temporary: &Path) {
    if let Err(error) = std::fs::remove_file(temporary) {
        tracing::debug!(%error, path = %temporary.display(), "a temporary file is left");
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_replaced_only_by_a_whole_one() {
        let folder = std::env::temp_dir().join(format!("rollcall-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir(&folder).expect("a folder");
        let (path, link) = (folder.join("old.jsonl"), folder.join("link.jsonl"));
        std::fs::write(&path, "old").expect("a file");
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("permissions");
        std::os::unix::fs::symlink(&path, &link).expect("a link");
        let read = || std::fs::read_to_string(&path).expect("the file");
        let mut cut = WholeFile::create(&path).expect("a file");
        cut.write_all(b"cut").expect("written");
        drop(cut);
        assert_eq!(read(), "old");
        let mut whole = WholeFile::create(&link).expect("a file");
        whole.write_all(b"new").expect("written");
        whole.finish().expect("in its place");
        assert_eq!(read(), "new");
        assert!(link.is_symlink());
        let new = folder.join("new.jsonl");
        WholeFile::create(&new).expect("a file").finish().expect("in its place");
        assert_eq!(new.metadata().expect("the file").permissions().mode() & 0o777, 0o600);
        std::fs::remove_file(&new).expect("removed");
        assert_eq!(path.metadata().expect("the file").permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(&folder).expect("the folder").count(), 2, "nothing is left");
        std::fs::remove_dir_all(&folder).expect("removed");
    }
}
