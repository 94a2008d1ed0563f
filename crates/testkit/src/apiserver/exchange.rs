//! One request and its answer, step by step.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use h2::Reason;
use http::{HeaderMap, Response};

use super::{BodyEnd, Command, Connection, Seen, Shared, h1, h2 as wire_h2, lock};

/// One request, to be answered. What is left half done when it is dropped is broken off.
pub struct Exchange {
    seen: Seen,
    index: usize,
    shared: Arc<Shared>,
    connection: Arc<Connection>,
    wire: Wire,
}

pub(super) enum Wire {
    H2(wire_h2::Stream),
    H1(h1::Turn),
}

impl Exchange {
    pub(super) fn begin(seen: Seen, shared: &Arc<Shared>, connection: &Arc<Connection>, wire: Wire) -> Self {
        connection.streams.fetch_add(1, Ordering::SeqCst);
        let mut log = lock(&shared.seen);
        let index = log.len();
        log.push(seen.clone());
        drop(log);
        Self { seen, index, shared: shared.clone(), connection: connection.clone(), wire }
    }

    /// The request, with its body as far as it was read.
    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    /// Path and query.
    pub fn target(&self) -> &str {
        &self.seen.target
    }

    /// Reads the body to its end, whichever that is.
    pub async fn body(&mut self) -> BodyEnd {
        if self.seen.end != BodyEnd::Open {
            return self.seen.end;
        }
        let mut body = Vec::new();
        let end = loop {
            let chunk = match &mut self.wire {
                Wire::H2(stream) => stream.receive().await.map_err(std::io::Error::other),
                Wire::H1(turn) => turn.receive().await,
            };
            match chunk {
                Ok(Some(bytes)) => body.extend_from_slice(&bytes),
                Ok(None) => break BodyEnd::Whole,
                Err(_broken) => break BodyEnd::Broken,
            }
        };
        self.seen.body = body.into();
        self.seen.end = end;
        if let Some(logged) = lock(&self.shared.seen).get_mut(self.index) {
            logged.clone_from(&self.seen);
        }
        end
    }

    /// Reads the body, and answers with this.
    pub async fn answer(mut self, response: Response<impl Into<Bytes>>) {
        self.body().await;
        self.answer_early(response).await;
    }

    /// Reads the body, and answers 200 with this text.
    pub async fn ok(self, text: impl Into<String>) {
        self.answer(Response::new(text.into())).await;
    }

    /// Answers, without a look at the body.
    pub async fn answer_early(mut self, response: Response<impl Into<Bytes>>) {
        let (parts, body) = response.into_parts();
        let body: Bytes = body.into();
        match &mut self.wire {
            Wire::H2(stream) => stream.start(Response::from_parts(parts, ()), body.is_empty()),
            Wire::H1(turn) => turn.whole(Response::from_parts(parts, ()), &body, &self.seen.method).await,
        }
        if let Wire::H2(_) = self.wire
            && !body.is_empty()
            && self.send(body).await
        {
            self.end().await;
        }
    }

    /// Begins the answer; over HTTP/1.1 its body is in chunks, unless the header has a length.
    pub async fn start(&mut self, head: Response<()>) {
        match &mut self.wire {
            Wire::H2(stream) => stream.start(head, false),
            Wire::H1(turn) => turn.start(&head).await,
        }
    }

    /// Sends some of the body; false if nobody takes it any more.
    pub async fn send(&mut self, bytes: impl Into<Bytes>) -> bool {
        match &mut self.wire {
            Wire::H2(stream) => stream.send(bytes.into()).await,
            Wire::H1(turn) => turn.send(&bytes.into()).await,
        }
    }

    /// Ends the answer as it should be.
    pub async fn end(mut self) {
        match &mut self.wire {
            Wire::H2(stream) => stream.end(),
            Wire::H1(turn) => turn.end().await,
        }
    }

    /// Ends the answer with trailers. Only over HTTP/2.
    pub async fn end_with(mut self, trailers: HeaderMap) {
        if let Wire::H2(stream) = &mut self.wire {
            stream.trailers(trailers);
        }
    }

    /// Resets the stream. Over HTTP/1.1 there is none, so the connection ends.
    ///
    /// What was sent a moment ago may be lost, as a reset overtakes it: wait until the other side has it.
    pub fn reset(mut self, reason: Reason) {
        if let Wire::H2(stream) = &mut self.wire {
            stream.reset(reason);
        }
    }

    /// Waits until the other side gives the stream up, and says why. Only over HTTP/2.
    pub async fn given_up(&mut self) -> Option<Reason> {
        match &mut self.wire {
            Wire::H2(stream) => stream.given_up().await,
            Wire::H1(_) => None,
        }
    }

    /// Closes the connection under the request.
    pub fn drop_connection(self) {
        let _gone_already = self.connection.commands.send(Command::Drop);
    }

    /// Resets the TCP connection under the request (RST). Only over HTTP/1.1.
    pub fn reset_connection(self) {
        if let Wire::H1(turn) = &self.wire {
            turn.reset_on_close();
        }
        self.drop_connection();
    }

    /// Says nothing until the connection ends.
    pub async fn silence(self) {
        std::future::pending::<()>().await;
    }

    /// Writes bytes as they are; false if nobody takes them. Only over HTTP/1.1.
    pub async fn write_raw(&mut self, bytes: &[u8]) -> bool {
        match &mut self.wire {
            Wire::H1(turn) => turn.write_raw(bytes).await,
            Wire::H2(_) => false,
        }
    }

    /// Reads what comes, after 101; nothing at the end.
    ///
    /// # Errors
    /// If the connection is reset. Only over HTTP/1.1.
    pub async fn read_raw(&mut self) -> std::io::Result<Bytes> {
        match &mut self.wire {
            Wire::H1(turn) => turn.read_raw().await,
            Wire::H2(_) => Err(std::io::ErrorKind::Unsupported.into()),
        }
    }

    /// Says that nothing more comes, and goes on reading. Only over HTTP/1.1.
    pub async fn half_close(&mut self) {
        if let Wire::H1(turn) = &mut self.wire {
            turn.half_close().await;
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.connection.streams.fetch_sub(1, Ordering::SeqCst);
    }
}
