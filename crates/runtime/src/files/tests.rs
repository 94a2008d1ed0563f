use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::on_change;

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
