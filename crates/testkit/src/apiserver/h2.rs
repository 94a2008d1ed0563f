//! HTTP/2 connections of the fake server.

use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Response};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::exchange::Wire;
use super::{BodyEnd, Command, Connection, Exchange, Seen, Shared};

/// The windows are large, so that it is the proxy that bounds what is in flight.
const WINDOW: u32 = 4 << 20;

pub(super) async fn serve(
    io: TlsStream<TcpStream>,
    shared: &Arc<Shared>,
    connection: &Arc<Connection>,
    mut commands: mpsc::UnboundedReceiver<Command>,
) {
    let handshake = h2::server::Builder::new()
        .max_concurrent_streams(shared.settings.max_streams)
        .initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_send_buffer_size(WINDOW as usize)
        .handshake::<_, Bytes>(io);
    let Ok(mut serving) = handshake.await else { return };
    let ended = CancellationToken::new();
    let _when_this_ends = ended.clone().drop_guard();
    loop {
        tokio::select! {
            accepted = serving.accept() => {
                let Some(Ok((request, respond))) = accepted else { return };
                let (parts, body) = request.into_parts();
                let seen = Seen {
                    connection: connection.number,
                    version: parts.version,
                    method: parts.method,
                    target: parts.uri.path_and_query().map_or_else(String::new, ToString::to_string),
                    headers: parts.headers,
                    end: if body.is_end_stream() { BodyEnd::Whole } else { BodyEnd::Open },
                    body: Bytes::new(),
                };
                let stream = Stream { body, respond, sending: None };
                let exchange = Exchange::begin(seen, shared, connection, Wire::H2(stream));
                let (answering, ended) = ((shared.handler)(exchange), ended.clone());
                tokio::spawn(async move {
                    tokio::select! { () = answering => {} () = ended.cancelled() => {} }
                });
            }
            command = commands.recv() => match command {
                Some(Command::GoAway) => serving.graceful_shutdown(),
                Some(Command::Drop) | None => return,
            }
        }
    }
}

/// One stream.
pub(super) struct Stream {
    body: RecvStream,
    respond: SendResponse<Bytes>,
    sending: Option<SendStream<Bytes>>,
}

impl Stream {
    /// Some of the body; nothing at its end, which END_STREAM has said.
    pub(super) async fn receive(&mut self) -> Result<Option<Bytes>, h2::Error> {
        match self.body.data().await {
            Some(Ok(bytes)) => {
                self.body.flow_control().release_capacity(bytes.len())?;
                Ok(Some(bytes))
            }
            Some(Err(error)) => Err(error),
            None => self.body.trailers().await.map(|_trailers| None),
        }
    }

    pub(super) fn start(&mut self, head: Response<()>, is_whole: bool) {
        self.sending = self.respond.send_response(head, is_whole).ok();
    }

    pub(super) async fn send(&mut self, mut bytes: Bytes) -> bool {
        let Some(stream) = &mut self.sending else { return false };
        while !bytes.is_empty() {
            stream.reserve_capacity(bytes.len());
            let capacity = match stream.capacity() {
                0 => match poll_fn(|cx| stream.poll_capacity(cx)).await {
                    Some(Ok(capacity)) => capacity,
                    _ => return false,
                },
                capacity => capacity,
            };
            let chunk = bytes.split_to(capacity.min(bytes.len()));
            if stream.send_data(chunk, false).is_err() {
                return false;
            }
        }
        true
    }

    pub(super) fn end(&mut self) {
        if let Some(stream) = &mut self.sending {
            let _gone_already = stream.send_data(Bytes::new(), true);
        }
    }

    pub(super) fn trailers(&mut self, trailers: HeaderMap) {
        if let Some(stream) = &mut self.sending {
            let _gone_already = stream.send_trailers(trailers);
        }
    }

    pub(super) fn reset(&mut self, reason: Reason) {
        match &mut self.sending {
            Some(stream) => stream.send_reset(reason),
            None => self.respond.send_reset(reason),
        }
    }

    pub(super) async fn given_up(&mut self) -> Option<Reason> {
        match &mut self.sending {
            Some(stream) => poll_fn(|cx| stream.poll_reset(cx)).await.ok(),
            None => poll_fn(|cx| self.respond.poll_reset(cx)).await.ok(),
        }
    }
}
