//! The folder of `--data-dir`: the database, a lock, and the demo keys' texts.
//!
//! The table holds hashes only, so the text of a demo key is kept beside it, readable by its owner.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// A folder that this process alone works in.
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Makes the folder if it is not there, and locks it. The lock ends with the process, however it ends.
    ///
    /// # Errors
    /// One line that names the folder.
    pub fn open(path: &Path) -> Result<Self, String> {
        let failed = |error: io::Error| format!("cannot use the folder {}: {error}", path.display());
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        let lock =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path.join("lock"));
        let lock = lock.map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => {
                Err(format!("the folder {} is in use by another rollcall dev", path.display()))
            }
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    /// The database's file. Its path must be text.
    ///
    /// # Errors
    /// One line that names the folder, if its name is not UTF-8.
    pub fn database(&self) -> Result<String, String> {
        let path = self.path.join("dynamodb.sqlite");
        let text = path.to_str().map(str::to_owned);
        text.ok_or_else(|| format!("the folder's name {} is not UTF-8", self.path.display()))
    }

    /// The tenant's demo key, if one was saved.
    ///
    /// # Errors
    /// One line that names the file.
    pub fn key(&self, tenant: &str) -> Result<Option<String>, String> {
        let path = self.key_file(tenant);
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text.trim().to_owned()).filter(|key| !key.is_empty())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("cannot read {}: {error}", path.display())),
        }
    }

    /// Saves the tenant's demo key. Either the whole key is there afterwards, crash or not, or what was before.
    ///
    /// # Errors
    /// One line that names the file.
    pub fn save_key(&self, tenant: &str, key: &str) -> Result<(), String> {
        let path = self.key_file(tenant);
        self.replace(&path, key).map_err(|error| format!("cannot write {}: {error}", path.display()))
    }

    fn replace(&self, path: &Path, key: &str) -> io::Result<()> {
        let temporary = path.with_extension("tmp");
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.set_permissions(PermissionsExt::from_mode(0o600))?;
        writeln!(file, "{key}")?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        File::open(&self.path)?.sync_all()
    }

    fn key_file(&self, tenant: &str) -> PathBuf {
        self.path.join(format!("demo-key-{tenant}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("rollcall-{name}-{}", uuid::Uuid::now_v7()));
        assert!(!path.exists());
        path
    }

    #[test]
    fn a_key_is_there_again_and_only_for_its_owner() {
        let path = folder("key");
        let dir = DataDir::open(&path).unwrap();
        assert_eq!(dir.key("demo"), Ok(None));
        dir.save_key("demo", "rc_demo_1").unwrap();
        dir.save_key("demo", "rc_demo_2").unwrap();
        std::fs::write(path.join("demo-key-other"), "").unwrap();
        drop(dir);
        let dir = DataDir::open(&path).unwrap();
        assert_eq!(dir.key("demo"), Ok(Some("rc_demo_2".to_owned())));
        assert_eq!(dir.key("other"), Ok(None));
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path.join("demo-key-demo")), 0o600);
        assert_eq!(mode(&path), 0o700);
        std::fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn a_folder_serves_one_at_a_time() {
        let path = folder("lock");
        let first = DataDir::open(&path).unwrap();
        let error = DataDir::open(&path).map(|_| ()).unwrap_err();
        assert!(error.ends_with("is in use by another rollcall dev"), "{error}");
        drop(first);
        assert!(DataDir::open(&path).is_ok());
        std::fs::remove_dir_all(path).unwrap();
        assert!(DataDir::open(Path::new("/dev/null/x")).is_err());
    }
}
