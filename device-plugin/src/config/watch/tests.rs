use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;

fn pool(name: &str) -> String {
    format!(r#"{{"resourceList":[{{"resourceName":"{name}","selectors":{{}}}}]}}"#)
}

/// A file with the pool `a`, under watch.
fn watched() -> (TempDir, PathBuf, Watched) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.json");
    fs::write(&path, pool("a")).unwrap();
    let (watched, config) = Watched::open(&path, "intel.com");
    assert_eq!(name(config), "a");
    (dir, path, watched)
}

fn name(config: Result<Config, Error>) -> String {
    config.unwrap().pools[0].resource.name().to_owned()
}

async fn new_name(watched: &mut Watched) -> String {
    loop {
        tokio::time::timeout(Duration::from_secs(10), watched.changed()).await.unwrap();
        if let Some(config) = watched.reread() {
            return name(config);
        }
    }
}

#[tokio::test]
async fn rewritten_in_place_and_renamed_over() {
    let (dir, path, mut watched) = watched();
    fs::write(&path, pool("b")).unwrap();
    assert_eq!(new_name(&mut watched).await, "b");
    fs::write(dir.path().join("new"), pool("c")).unwrap();
    fs::rename(dir.path().join("new"), &path).unwrap();
    assert_eq!(new_name(&mut watched).await, "c");
    fs::remove_file(&path).unwrap();
    fs::write(&path, pool("d")).unwrap();
    assert_eq!(new_name(&mut watched).await, "d");
}

#[tokio::test]
async fn a_config_map() {
    let dir = tempfile::tempdir().unwrap();
    // As the kubelet's atomic writer does (pkg/volume/util/atomic_writer.go).
    let publish = |stamp: &str, text: String| {
        fs::create_dir(dir.path().join(stamp)).unwrap();
        fs::write(dir.path().join(stamp).join("config.json"), text).unwrap();
        symlink(stamp, dir.path().join("..data_tmp")).unwrap();
        fs::rename(dir.path().join("..data_tmp"), dir.path().join("..data")).unwrap();
    };
    publish("..1", pool("a"));
    let path = dir.path().join("config.json");
    symlink("..data/config.json", &path).unwrap();
    let (mut watched, config) = Watched::open(&path, "intel.com");
    assert_eq!(name(config), "a");
    for (stamp, wanted) in [("..2", "b"), ("..3", "c")] {
        publish(stamp, pool(wanted));
        assert_eq!(new_name(&mut watched).await, wanted);
    }
}

#[tokio::test]
async fn each_content_is_told_once() {
    let (dir, path, mut watched) = watched();
    assert!(watched.reread().is_none());
    fs::write(&path, pool("a")).unwrap();
    fs::write(dir.path().join("other"), "").unwrap();
    assert!(watched.reread().is_none());
    fs::write(&path, "{").unwrap();
    assert!(matches!(watched.reread(), Some(Err(Error::Invalid { .. }))));
    assert!(watched.reread().is_none());
    fs::remove_file(&path).unwrap();
    assert!(matches!(watched.reread(), Some(Err(Error::Read { .. }))));
    assert!(watched.reread().is_none());
    fs::write(&path, pool("a")).unwrap();
    assert_eq!(name(watched.reread().unwrap()), "a", "as before the file broke");
}

#[tokio::test]
async fn a_folder_that_is_replaced() {
    let (dir, path, mut watched) = watched();
    let old = dir.path().with_extension("old");
    fs::rename(dir.path(), &old).unwrap();
    tokio::time::timeout(Duration::from_secs(10), watched.changed()).await.unwrap();
    assert!(matches!(watched.reread(), Some(Err(Error::Read { .. }))));
    fs::create_dir(dir.path()).unwrap();
    fs::write(&path, pool("b")).unwrap();
    // Nobody watches the folder above: a look without cause finds it, and watches the new folder.
    assert_eq!(name(watched.reread().unwrap()), "b");
    fs::write(&path, pool("c")).unwrap();
    assert_eq!(new_name(&mut watched).await, "c");
    fs::remove_dir_all(old).unwrap();
}
