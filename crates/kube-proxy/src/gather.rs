//! Fewer, larger writes for HTTP/2. h2 asks for a flush behind every DATA frame of more than 256 bytes, and each flush is
//! a TLS record and a system call, although the frames of many streams are ready at once. So what h2 writes is gathered,
//! a flush is only noted, and whoever polls the connection does it once, when the poll is over ([`Flusher::flush`]).
//!
//! Nothing is held back for longer than that poll: a single frame goes out as soon as without this.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use hyper::rt::Executor;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What is gathered at most: a TLS record.
const CAPACITY: usize = 16 * 1024;
/// Writes of at least this size go straight through; to copy them would cost more than it saves.
const LARGE: usize = 4 * 1024;

/// A stream whose writes are gathered.
pub(crate) struct Gathering<IO>(Arc<Mutex<Inner<IO>>>);

/// The other handle of the stream: for whoever polls the connection.
pub(crate) struct Flusher<IO>(Arc<Mutex<Inner<IO>>>);

struct Inner<IO> {
    io: IO,
    gathered: Vec<u8>,
    /// How much of it has been written.
    written: usize,
    /// Who asked for a flush that is still to be done: the task that drives the connection. The flush is done in its
    /// name, whoever does it, for it is the one to be woken when there is room again.
    wants_flush: Option<Waker>,
    /// What a flush that nobody could be told about failed with.
    failed: Option<io::Error>,
}

/// Gathers what is written to `io`.
pub(crate) fn gathering<IO: AsyncWrite + Unpin>(io: IO) -> (Gathering<IO>, Flusher<IO>) {
    let inner = Inner { io, gathered: Vec::new(), written: 0, wants_flush: None, failed: None };
    let shared = Arc::new(Mutex::new(inner));
    (Gathering(shared.clone()), Flusher(shared))
}

fn lock<IO>(shared: &Mutex<Inner<IO>>) -> MutexGuard<'_, Inner<IO>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<IO: AsyncWrite + Unpin> Inner<IO> {
    fn check(&mut self) -> io::Result<()> {
        self.failed.take().map_or(Ok(()), Err)
    }

    /// Writes out what was gathered.
    fn drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.gathered.get(self.written..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut self.io).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.written += count,
            }
        }
        // An idle connection holds no buffer.
        (self.gathered, self.written) = (Vec::new(), 0);
        Poll::Ready(Ok(()))
    }

    /// Takes as much of `data` as there is room for.
    fn put(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        if self.gathered.len() >= CAPACITY {
            ready!(self.drain(cx))?;
        }
        if self.gathered.capacity() == 0 {
            self.gathered.reserve(2048);
        }
        let count = data.len().min(CAPACITY - self.gathered.len());
        self.gathered.extend_from_slice(data.get(..count).unwrap_or_default());
        Poll::Ready(Ok(count))
    }
}

impl<IO: AsyncWrite + Unpin> Flusher<IO> {
    /// Does the flush that was asked for, if any. Call it after each poll of the connection.
    pub(crate) fn flush(&self) {
        let mut inner = lock(&self.0);
        let Some(driver) = inner.wants_flush.take() else { return };
        let mut cx = Context::from_waker(&driver);
        let flushed = match inner.drain(&mut cx) {
            Poll::Ready(Ok(())) => Pin::new(&mut inner.io).poll_flush(&mut cx),
            other => other,
        };
        match flushed {
            Poll::Ready(Ok(())) => {}
            // The driver is woken when there is room, and the flush is done after its next poll.
            Poll::Pending => inner.wants_flush = Some(driver),
            Poll::Ready(Err(error)) => {
                inner.failed = Some(error);
                driver.wake();
            }
        }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Gathering<IO> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut lock(&self.0).io).poll_read(cx, buf)
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Gathering<IO> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let mut inner = lock(&self.0);
        inner.check()?;
        if data.len() >= LARGE {
            ready!(inner.drain(cx))?;
            return Pin::new(&mut inner.io).poll_write(cx, data);
        }
        inner.put(cx, data)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut inner = lock(&self.0);
        inner.check()?;
        if slices.iter().map(|slice| slice.len()).sum::<usize>() >= LARGE {
            ready!(inner.drain(cx))?;
            return Pin::new(&mut inner.io).poll_write_vectored(cx, slices);
        }
        let mut total = 0;
        for slice in slices.iter().filter(|slice| !slice.is_empty()) {
            match inner.put(cx, slice) {
                Poll::Ready(Ok(count)) => {
                    total += count;
                    if count < slice.len() {
                        break;
                    }
                }
                other if total == 0 => return other,
                // What was taken was taken; the failure comes again with the next write.
                Poll::Ready(Err(error)) => {
                    inner.failed = Some(error);
                    break;
                }
                Poll::Pending => break,
            }
        }
        Poll::Ready(Ok(total))
    }

    fn is_write_vectored(&self) -> bool {
        lock(&self.0).io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = lock(&self.0);
        inner.check()?;
        match &mut inner.wants_flush {
            Some(driver) => driver.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = lock(&self.0);
        inner.check()?;
        ready!(inner.drain(cx))?;
        Pin::new(&mut inner.io).poll_shutdown(cx)
    }
}

/// Runs what hyper gives it, on tokio, and flushes after each poll: hyper drives a client's connection in a task of its
/// own.
pub(crate) struct FlushingExecutor<IO>(Arc<Mutex<Inner<IO>>>);

impl<IO> FlushingExecutor<IO> {
    pub(crate) fn new(flusher: &Flusher<IO>) -> Self {
        Self(flusher.0.clone())
    }
}

impl<IO> Clone for FlushingExecutor<IO> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<IO, F> Executor<F> for FlushingExecutor<IO>
where
    IO: AsyncWrite + Unpin + Send + 'static,
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        let flusher = Flusher(self.0.clone());
        tokio::spawn(async move {
            let mut future = std::pin::pin!(future);
            std::future::poll_fn(|cx| {
                let polled = future.as_mut().poll(cx);
                flusher.flush();
                polled
            })
            .await
        });
    }
}

#[cfg(test)]
mod tests;
