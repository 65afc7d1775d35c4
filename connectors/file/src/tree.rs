//! The import tree, through one capability: nothing here can name a file outside the root.
//!
//! Guarantees: paths are relative, with `/`; a symlink is never followed at the last step and cannot lead out of the root on the
//! way; opening never blocks (a FIFO is refused); a rename never replaces what is there. Relies on `cap-std` for containment.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, DirBuilder, DirBuilderExt, MetadataExt, OpenOptions, OpenOptionsExt};
use rustix::fs::{OFlags, RenameFlags};

/// The folders that are made when missing.
const FOLDERS: [&str; 6] =
    ["initial/common", "initial/institutions", "incremental/pending", "incremental/processed", "incremental/failed", "templates"];

/// What tells one state of a file from another.
#[derive(Debug, Clone, Copy, Eq, Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct Signature {
    pub(crate) size: u64,
    /// Nanoseconds since 1970.
    pub(crate) modified: i64,
    pub(crate) inode: u64,
    /// Neither folder, link, FIFO nor device.
    pub(crate) regular: bool,
    /// When the entry itself last changed, nanoseconds since 1970: also when it was renamed, or somebody was allowed to read it. Two
    /// that differ in this alone count as the same.
    #[serde(default)]
    pub(crate) changed: i64,
}

impl PartialEq for Signature {
    fn eq(&self, other: &Self) -> bool {
        let of = |one: &Self| (one.size, one.modified, one.inode, one.regular);
        of(self) == of(other)
    }
}

/// The tree.
#[derive(Debug)]
pub(crate) struct Tree {
    root: Dir,
    /// What was said to be passed over, so that it is said once and not at each look.
    passed_over: Mutex<BTreeSet<String>>,
}

/// One entry of a folder.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) is_dir: bool,
    pub(crate) is_link: bool,
}

impl Tree {
    /// Opens the root and makes what is missing. Folders are for their owner alone: the files hold personal data.
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        if !root.exists() {
            Dir::create_ambient_dir_all(root, ambient_authority())?;
        }
        let tree = Self::look_into(root)?;
        FOLDERS.iter().try_for_each(|folder| tree.ensure_dir(folder))?;
        Ok(tree)
    }

    /// Opens the root as it is.
    pub(crate) fn look_into(root: &Path) -> io::Result<Self> {
        Ok(Self { root: Dir::open_ambient_dir(root, ambient_authority())?, passed_over: Mutex::default() })
    }

    /// Makes a folder with all above it.
    pub(crate) fn ensure_dir(&self, path: &str) -> io::Result<()> {
        if self.root.symlink_metadata(path).is_ok_and(|known| known.is_dir()) {
            return Ok(());
        }
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        self.root.create_dir_with(path, &builder)
    }

    /// Whether this is still what stands at `root`, where another folder may have been made or mounted since.
    pub(crate) fn is_at(&self, root: &Path) -> bool {
        use std::os::unix::fs::MetadataExt as _;
        let here = self.root.dir_metadata().map(|found| (MetadataExt::dev(&found), MetadataExt::ino(&found)));
        let there = std::fs::metadata(root).map(|found| (found.dev(), found.ino()));
        here.ok().zip(there.ok()).is_some_and(|(here, there)| here == there)
    }

    /// The entries of a folder, by name; none when it is missing. Names that are not UTF-8 and hidden ones are left out.
    pub(crate) fn entries(&self, path: &str) -> io::Result<Vec<Entry>> {
        let read = match self.root.read_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            read => read.map_err(|error| named(path, &error))?,
        };
        let mut entries = Vec::new();
        for entry in read {
            let entry = entry?;
            let name = match entry.file_name().into_string() {
                Ok(name) => name,
                Err(name) => {
                    self.pass_over(&format!("{path}/{}", name.display()), "its name is not UTF-8; give it another one");
                    continue;
                }
            };
            if !name.starts_with('.') {
                let kind = entry.file_type()?;
                entries.push(Entry { name, is_dir: kind.is_dir(), is_link: kind.is_symlink() });
            }
        }
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(entries)
    }

    /// Says, the first time, that what stands at `path` is not looked at.
    pub(crate) fn pass_over(&self, path: &str, why: &str) {
        if self.passed_over.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned()) {
            tracing::warn!(path, why, "passed over in the import root");
        }
    }

    /// The state of a file, links not followed.
    pub(crate) fn signature(&self, path: &str) -> io::Result<Signature> {
        let found = self.root.symlink_metadata(path)?;
        let nanoseconds = |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
        Ok(Signature {
            size: found.size(),
            modified: nanoseconds(found.mtime(), found.mtime_nsec()),
            inode: found.ino(),
            regular: found.is_file(),
            changed: nanoseconds(found.ctime(), found.ctime_nsec()),
        })
    }

    /// When the entry itself last changed (written, renamed), in seconds since 1970.
    pub(crate) fn changed_at(&self, path: &str) -> io::Result<i64> {
        Ok(self.root.symlink_metadata(path)?.ctime())
    }

    /// Opens a regular file for reading.
    pub(crate) fn open_file(&self, path: &str) -> io::Result<File> {
        let mut options = OpenOptions::new();
        let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW;
        options.read(true).custom_flags(flags.bits().cast_signed());
        let file = self.root.open_with(path, &options)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        Ok(file.into_std())
    }

    /// A file to be written from its start; whatever stood there is gone.
    pub(crate) fn create(&self, path: &str) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600).custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
        Ok(self.root.open_with(path, &options)?.into_std())
    }

    /// Renames; `AlreadyExists` when the new name is taken.
    pub(crate) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let (from_dir, from_name) = self.parent(from)?;
        let (to_dir, to_name) = self.parent(to)?;
        let renamed = rustix::fs::renameat_with(from_dir.as_fd(), from_name, to_dir.as_fd(), to_name, RenameFlags::NOREPLACE);
        match renamed {
            Ok(()) => Ok(()),
            // A file system that cannot promise it (some network shares): look first.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
                if self.exists(to) {
                    return Err(io::ErrorKind::AlreadyExists.into());
                }
                from_dir.rename(from_name, &to_dir, to_name)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Renames over what is there: only for names that are ours.
    pub(crate) fn replace(&self, from: &str, to: &str) -> io::Result<()> {
        self.root.rename(from, &self.root, to)
    }

    /// Whether what stands at `part` is a regular file that a power cut may have made of `whole`: its first bytes, perhaps all,
    /// then nothing or zeros, which some file systems leave where data did not reach the disk.
    pub(crate) fn is_torn_copy(&self, whole: &str, part: &str) -> bool {
        let compared = || -> io::Result<bool> {
            let (mut whole, mut part) = (io::BufReader::new(self.open_file(whole)?), io::BufReader::new(self.open_file(part)?));
            loop {
                let (left, right) = (whole.fill_buf()?, part.fill_buf()?);
                let length = left.len().min(right.len());
                if length == 0 || left[..length] != right[..length] {
                    let same = left[..length].iter().zip(right).take_while(|(left, right)| left == right).count();
                    part.consume(same);
                    return only_zeros(&mut part);
                }
                whole.consume(length);
                part.consume(length);
            }
        };
        // What cannot be read is not known to be the same.
        compared().unwrap_or(false)
    }

    /// Waits until a file's contents are on the disk. What is gone, or was replaced by something else, needs no waiting for.
    pub(crate) fn sync_file(&self, path: &str) -> io::Result<()> {
        match self.open_file(path) {
            Ok(file) => synced(&file),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput || is_link(&error) => Ok(()),
            Err(error) => unless_gone(error),
        }
    }

    /// Waits until a folder's names are on the disk; a link to a folder inside the root is that folder.
    pub(crate) fn sync_folder(&self, path: &str) -> io::Result<()> {
        // What `folder` gives may stand for a place only, and not be waited for.
        match self.folder(path).and_then(|folder| folder.open(".")) {
            Ok(folder) => synced(&folder.into_std()),
            Err(error) => unless_gone(error),
        }
    }

    /// Takes a file away; it is fine when there is none.
    pub(crate) fn remove(&self, path: &str) -> io::Result<()> {
        match self.root.remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// Takes a folder away when it is empty.
    pub(crate) fn remove_empty_dir(&self, path: &str) -> io::Result<()> {
        self.root.remove_dir(path)
    }

    /// Whether there is anything under this name.
    pub(crate) fn exists(&self, path: &str) -> bool {
        self.root.symlink_metadata(path).is_ok()
    }

    /// Bytes free on the root's disk for us.
    pub(crate) fn free(&self) -> io::Result<u64> {
        let found = rustix::fs::fstatvfs(self.root.as_fd())?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }

    fn parent<'p>(&self, path: &'p str) -> io::Result<(Dir, &'p str)> {
        let (folder, name) = split(path);
        Ok((self.folder(folder)?, name))
    }

    fn folder(&self, path: &str) -> io::Result<Dir> {
        if path.is_empty() { self.root.try_clone() } else { self.root.open_dir(path) }
    }
}

/// Whether nothing but zeros is left to read.
/// The error with the path that it is about: a whole scan fails by one.
pub(crate) fn named(path: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{path}: {error}"))
}

fn only_zeros(reader: &mut impl BufRead) -> io::Result<bool> {
    loop {
        let bytes = reader.fill_buf()?;
        if bytes.is_empty() || bytes.iter().any(|byte| *byte != 0) {
            return Ok(bytes.is_empty());
        }
        let length = bytes.len();
        reader.consume(length);
    }
}

/// Waits for the disk, where the file system can say that at all (some network shares cannot for folders).
fn synced(file: &File) -> io::Result<()> {
    match file.sync_all() {
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
        other => other,
    }
}

/// How opening a link is refused that must not be followed.
fn is_link(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}

fn unless_gone(error: io::Error) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(()),
        _ => Err(error),
    }
}

/// Folder (empty for the root) and name.
pub(crate) fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// The folder of a path; empty for the root.
pub(crate) fn folder_of(path: &str) -> &str {
    split(path).0
}

#[cfg(test)]
mod tests;
