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
