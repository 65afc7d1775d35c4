use std::fs;
use std::io;
use std::os::unix::fs::symlink;

use super::Tree;

fn tree() -> (tempfile::TempDir, Tree) {
    let folder = tempfile::tempdir().unwrap();
    let tree = Tree::open(&folder.path().join("import")).unwrap();
    (folder, tree)
}

#[test]
fn the_layout_is_made_and_stays() {
    let (folder, _tree) = tree();
    for path in [
        "initial/common",
        "initial/institutions",
        "incremental/pending",
        "incremental/processed",
        "incremental/failed",
        "templates",
    ] {
        assert!(folder.path().join("import").join(path).is_dir(), "{path}");
    }
    Tree::open(&folder.path().join("import")).unwrap();
}

#[test]
fn nothing_outside_is_reached() {
    let (folder, tree) = tree();
    fs::write(folder.path().join("secret.json"), "[]").unwrap();
    symlink("../../secret.json", folder.path().join("import/initial/link.json")).unwrap();
    symlink("../..", folder.path().join("import/initial/out")).unwrap();
    for path in ["../secret.json", "initial/link.json", "initial/out/secret.json", "/etc/passwd"] {
        assert!(tree.open_file(path).is_err(), "{path}");
    }
    assert!(tree.create("../new.json").is_err());
    assert!(tree.create("initial/link.json").is_err());
    assert!(tree.rename("initial/link.json", "../moved.json").is_err());
    assert_eq!(fs::read(folder.path().join("secret.json")).unwrap(), b"[]");
}

#[test]
fn what_is_no_file_is_refused_without_blocking() {
    let (folder, tree) = tree();
    let place = folder.path().join("import/initial");
    rustix::fs::mknodat(rustix::fs::CWD, place.join("fifo.json"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    fs::create_dir(place.join("folder.json")).unwrap();
    symlink("nowhere", place.join("dangling.json")).unwrap();
    for name in ["fifo.json", "folder.json", "dangling.json"] {
        let path = format!("initial/{name}");
        assert!(tree.open_file(&path).is_err(), "{name}");
        assert!(!tree.signature(&path).unwrap().regular, "{name}");
        tree.rename(&path, &format!("incremental/failed/{name}")).unwrap();
    }
}

#[test]
fn a_taken_name_is_not_replaced() {
    let (folder, tree) = tree();
    let place = folder.path().join("import/initial");
    fs::write(place.join("a"), "a").unwrap();
    fs::write(place.join("b"), "b").unwrap();
    let error = tree.rename("initial/a", "initial/b").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    tree.rename("initial/a", "templates/a").unwrap();
    assert_eq!(fs::read(folder.path().join("import/templates/a")).unwrap(), b"a");
}

#[test]
fn waiting_for_the_disk_passes_what_is_not_ours() {
    let (folder, tree) = tree();
    let place = folder.path().join("import");
    fs::create_dir(place.join("archive")).unwrap();
    fs::write(place.join("archive/a"), "a").unwrap();
    symlink("../archive", place.join("incremental/linked")).unwrap();
    symlink("a", place.join("archive/link")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, place.join("archive/fifo"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    for file in ["archive/a", "incremental/linked/a", "archive/link", "archive/fifo", "archive", "archive/gone", "archive/a/b"] {
        tree.sync_file(file).unwrap_or_else(|error| panic!("{file}: {error}"));
    }
    for name in ["", "archive", "incremental/linked", "gone", "archive/a"] {
        tree.sync_folder(name).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    tree.sync_folder("..").unwrap_err();
}

#[test]
fn a_torn_copy_is_a_beginning_with_nothing_or_zeros_behind() {
    let (folder, tree) = tree();
    let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join("import").join(name), bytes).unwrap();
    let whole: Vec<u8> = (0..20_000).map(|number| b"{\"data\":[]}\n"[number % 12]).collect();
    write("whole", &whole);
    let followed_by = |length: usize, behind: &[u8]| [&whole[..length], behind].concat();
    for torn in [
        Vec::new(),
        whole.clone(),
        followed_by(10_000, b""),
        followed_by(0, &[0; 20_000]),
        followed_by(8_192, &[0; 100]),
        followed_by(8_191, &[0; 11_809]),
        followed_by(20_000, &[0; 100]),
    ] {
        write("part", &torn);
        assert!(tree.is_torn_copy("whole", "part"), "{} bytes", torn.len());
    }
    for other in [followed_by(20_000, b"x"), followed_by(10_000, b"x"), followed_by(10_000, b"\0x"), b"[]".to_vec()] {
        write("part", &other);
        assert!(!tree.is_torn_copy("whole", "part"), "{} bytes", other.len());
    }
    assert!(!tree.is_torn_copy("whole", "gone"));
}
