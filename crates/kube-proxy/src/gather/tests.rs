//! Every byte, once and in order, whatever is written how; and no write that waits for more than the end of a poll.

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;

/// Bytes that tell their place.
fn bytes(from: usize, count: usize) -> Vec<u8> {
    (from..from + count).map(|n| u8::try_from(n % 251).unwrap()).collect()
}

/// Writes as h2 does: a write, a flush that is believed, and the real one when the poll is over.
async fn write(io: &mut Gathering<DuplexStream>, flusher: &Flusher<DuplexStream>, data: &[u8]) -> io::Result<()> {
    let mut rest = data;
    while !rest.is_empty() {
        let count = std::future::poll_fn(|cx| {
            let polled = if rest.len().is_multiple_of(2) {
                Pin::new(&mut *io).poll_write(cx, rest)
            } else {
                let (head, tail) = rest.split_at(rest.len() / 3);
                Pin::new(&mut *io).poll_write_vectored(cx, &[io::IoSlice::new(head), io::IoSlice::new(tail)])
            };
            flusher.flush();
            polled
        })
        .await?;
        rest = &rest[count..];
    }
    Ok(())
}

/// Polls flushes until nothing is left to flush.
async fn flush(io: &mut Gathering<DuplexStream>, flusher: &Flusher<DuplexStream>) -> io::Result<()> {
    let mut asked = false;
    std::future::poll_fn(|cx| {
        if !asked {
            asked = true;
            ready!(Pin::new(&mut *io).poll_flush(cx))?;
        }
        flusher.flush();
        let mut inner = lock(&io.0);
        inner.check()?;
        if inner.wants_flush.is_some() { Poll::Pending } else { Poll::Ready(Ok(())) }
    })
    .await
}

#[tokio::test]
async fn every_byte_arrives_once_and_in_order_through_a_narrow_pipe() {
    let (near, mut far) = duplex(700);
    let (mut io, flusher) = gathering(near);
    let sizes = [1, 9, 255, 256, 257, 1000, 4095, 4096, 4097, 16_383, 16_384, 16_385, 40_000, 2, 8191, 3];
    let total: usize = sizes.iter().sum();
    let reading = tokio::spawn(async move {
        let mut all = Vec::new();
        far.read_to_end(&mut all).await.unwrap();
        all
    });
    let mut sent = 0;
    for (n, size) in sizes.into_iter().enumerate() {
        write(&mut io, &flusher, &bytes(sent, size)).await.unwrap();
        sent += size;
        if n % 3 == 0 {
            flush(&mut io, &flusher).await.unwrap();
        }
    }
    // What was not flushed is written before the end.
    io.shutdown().await.unwrap();
    drop((io, flusher));
    assert!(reading.await.unwrap() == bytes(0, total));
}

#[tokio::test]
async fn frames_of_one_poll_are_one_write_and_wait_for_nothing_else() {
    let (near, mut far) = duplex(64 * 1024);
    let (mut io, flusher) = gathering(near);
    std::future::poll_fn(|cx| {
        for n in 0..5 {
            assert!(Pin::new(&mut io).poll_write(cx, &bytes(n * 300, 300)).is_ready());
            assert!(Pin::new(&mut io).poll_flush(cx).is_ready());
        }
        Poll::Ready(())
    })
    .await;
    let mut all = vec![0; 4096];
    let mut early = ReadBuf::new(&mut all);
    let mut cx = Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut far).poll_read(&mut cx, &mut early).is_pending(), "written before the poll was over");
    flusher.flush();
    assert_eq!(far.read(&mut all).await.unwrap(), 1500);
    assert!(all[..1500] == bytes(0, 1500));
    // And nothing is kept.
    assert_eq!(lock(&io.0).gathered.capacity(), 0);
}

#[tokio::test]
async fn a_flush_that_found_no_room_is_done_when_there_is() {
    let (near, mut far) = duplex(100);
    let (mut io, flusher) = gathering(near);
    write(&mut io, &flusher, &bytes(0, 1000)).await.unwrap();
    let flushing = tokio::spawn(async move { flush(&mut io, &flusher).await.map(|()| (io, flusher)) });
    let mut all = vec![0; 1000];
    far.read_exact(&mut all).await.unwrap();
    assert!(all == bytes(0, 1000));
    flushing.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_failed_flush_is_an_error_of_what_comes_next() {
    let (near, far) = duplex(100);
    let (mut io, flusher) = gathering(near);
    drop(far);
    assert!(write(&mut io, &flusher, &bytes(0, 10)).await.is_ok());
    let waker = Waker::noop();
    let mut cx = Context::from_waker(waker);
    assert!(matches!(Pin::new(&mut io).poll_flush(&mut cx), Poll::Ready(Ok(()))));
    flusher.flush();
    let large = bytes(0, 8000);
    assert!(matches!(Pin::new(&mut io).poll_write(&mut cx, &large), Poll::Ready(Err(_))));
}
