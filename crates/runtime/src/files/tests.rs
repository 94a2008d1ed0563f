use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{on_change, read, read_text};

#[tokio::test]
async fn reports_a_change_a_disappearance_and_a_return_once_each() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    std::fs::write(&path, "one").unwrap();
    let stop = CancellationToken::new();
    let (tx, mut rx) = tokio::sync::mpsc::unbounded_channel();
    let watched = path.clone();
    let task = tokio::spawn(on_change(vec![path.clone()], Duration::from_millis(5), stop.clone(), async move || {
        tx.send(std::fs::read_to_string(&watched).ok()).unwrap();
        true
    }));
    // The watcher takes its first fingerprint when it is first polled; until then a change would go unseen.
    tokio::time::timeout(Duration::from_secs(10), async {
        let mut n = 0;
        loop {
            n += 1;
            std::fs::write(&path, format!("two {n}")).unwrap();
            if tokio::time::timeout(Duration::from_millis(50), rx.recv()).await.is_ok() {
                break;
            }
        }
    })
    .await
    .unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(rx.recv().await.unwrap(), None);
    std::fs::write(&path, "three").unwrap();
    assert!(rx.recv().await.unwrap().is_some());
    stop.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn what_could_not_be_used_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tls.crt");
    let stop = CancellationToken::new();
    let (tx, mut rx) = tokio::sync::mpsc::unbounded_channel();
    let mut tries = 0;
    let task = tokio::spawn(on_change(vec![path.clone()], Duration::from_millis(5), stop.clone(), async move || {
        tries += 1;
        tx.send(tries).unwrap();
        tries >= 3
    }));
    let writing = async {
        let mut n = 0;
        while n < 10_000 {
            n += 1;
            std::fs::write(&path, format!("{n}")).unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    // One change is enough: it is tried three times.
    tokio::select! { () = writing => panic!("no change was seen"), first = rx.recv() => assert_eq!(first, Some(1)) }
    assert_eq!((rx.recv().await, rx.recv().await), (Some(2), Some(3)));
    stop.cancel();
    task.await.unwrap();
}

#[test]
fn only_regular_files_of_a_reasonable_size_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    std::fs::write(&path, "text").unwrap();
    assert_eq!(read_text(&path).unwrap(), "text");
    std::fs::write(&path, [0xff]).unwrap();
    assert!(read_text(&path).unwrap_err().to_string().contains("UTF-8"));
    std::fs::File::create(&path).unwrap().set_len(3 << 30).unwrap();
    assert!(read(&path).unwrap_err().to_string().contains("larger"));
    for special in ["/dev/zero", "/dev", "/nowhere"] {
        assert!(read(special.as_ref()).is_err(), "{special}");
    }
    let pipe = dir.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    assert!(read(&pipe).unwrap_err().to_string().contains("regular"));
}
