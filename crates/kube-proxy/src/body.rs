//! The bodies that pass through the proxy. None is ever collected: a frame goes out as it came in, and is asked for
//! only when the other side has room, so a 100 MB list holds one flow-control window of memory.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Version;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio_util::sync::WaitForCancellationFutureOwned;

use crate::long_running::{Framing, LongRunning};
use crate::upstream::Lease;

/// Why a body broke off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error(transparent)]
    Http(#[from] hyper::Error),
    #[error("the stream was reset before its end")]
    CutShort,
    #[error("the proxy is stopping, and the stream did not come to a place to end it")]
    Stopping,
}

type Polled = Poll<Option<Result<Frame<Bytes>, BodyError>>>;

/// What the proxy sends to kube-apiserver.
pub(crate) enum RequestBody {
    /// No body: the request ends with its headers.
    Empty,
    /// A body of the proxy's own (a review).
    Own(Option<Bytes>),
    /// The client's body, streamed.
    Streamed(Incoming, Ending, ClientBody),
}

/// Tells of the client's body when it is somewhere in the connection to kube-apiserver: whose failure it was.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClientBody(Arc<AtomicBool>);

impl ClientBody {
    /// Whether the client did not bring its body to an end.
    pub(crate) fn has_failed(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Whether a body that just stops may be taken for whole. hyper takes a stream that the other side reset with NO_ERROR
/// for one that ended; over HTTP/1.1 it knows better itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It must have been ended by END_STREAM, or be as long as its header said. A reset behind END_STREAM, as of a server
    /// that has not read the request's body (RFC 9113 section 8.1), undoes nothing: h2 keeps the two apart since 0.4.16.
    Said,
    Any,
}

impl Ending {
    /// What the protocol of the message that has the body makes of it.
    pub(crate) fn of(version: Version) -> Self {
        if version == Version::HTTP_2 { Self::Said } else { Self::Any }
    }

    fn check(self, body: &Incoming) -> Option<Result<Frame<Bytes>, BodyError>> {
        let is_whole = self == Self::Any || body.is_end_stream() || body.size_hint().exact() == Some(0);
        if is_whole { None } else { Some(Err(BodyError::CutShort)) }
    }
}

impl RequestBody {
    /// The client's body; one that has already ended is [`RequestBody::Empty`].
    pub(crate) fn from_client(body: Incoming, version: Version) -> (Self, ClientBody) {
        let ending = Ending::of(version);
        let told = ClientBody::default();
        let body = if body.is_end_stream() { Self::Empty } else { Self::Streamed(body, ending, told.clone()) };
        (body, told)
    }

    /// A body of the proxy's own, which has no effect at kube-apiserver: it asks.
    pub(crate) fn own(bytes: impl Into<Bytes>) -> Self {
        Self::Own(Some(bytes.into()))
    }

    pub(crate) fn is_own(&self) -> bool {
        matches!(self, Self::Own(_))
    }

    /// The same body once more, unless it can be had only once.
    pub(crate) fn again(&self) -> Option<Self> {
        match self {
            Self::Empty => Some(Self::Empty),
            Self::Own(bytes) => Some(Self::Own(bytes.clone())),
            Self::Streamed(..) => None,
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Own(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Streamed(incoming, ending, told) => loop {
                match ready!(Pin::new(&mut *incoming).poll_frame(cx)) {
                    // RFC 9110 section 6.5.1: trailers may be discarded. A client's trailers are, for they could
                    // name a header that was stripped.
                    Some(Ok(frame)) if !frame.is_data() => {}
                    polled => {
                        let polled = match polled {
                            Some(polled) => Some(polled.map_err(BodyError::from)),
                            None => ending.check(incoming),
                        };
                        if matches!(polled, Some(Err(_))) {
                            told.0.store(true, Ordering::Relaxed);
                        }
                        return Poll::Ready(polled);
                    }
                }
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty | Self::Own(None) => true,
            Self::Own(Some(_)) => false,
            Self::Streamed(incoming, ..) => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty | Self::Own(None) => SizeHint::with_exact(0),
            Self::Own(Some(bytes)) => SizeHint::with_exact(bytes.len() as u64),
            Self::Streamed(incoming, ..) => incoming.size_hint(),
        }
    }
}

/// The body of a response of kube-apiserver.
pub(crate) enum UpstreamBody {
    /// As it comes.
    Streamed(Incoming),
    /// Already read, because the proxy had to look at it.
    Whole(Bytes),
}

/// A response that is streamed, and the lease on the connection that it comes from.
pub(crate) struct Streamed {
    incoming: Incoming,
    ending: Ending,
    lease: Option<Lease>,
}

impl Streamed {
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Polled {
        match ready!(Pin::new(&mut self.incoming).poll_frame(cx)) {
            Some(polled) => Poll::Ready(Some(polled.map_err(BodyError::from))),
            None => {
                let ended = self.ending.check(&self.incoming);
                if let (None, Some(lease)) = (&ended, &mut self.lease) {
                    lease.complete();
                }
                Poll::Ready(ended)
            }
        }
    }

    /// Whether nothing more comes. Then nobody polls it again.
    pub(crate) fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }
}

impl Drop for Streamed {
    fn drop(&mut self) {
        if self.incoming.is_end_stream()
            && let Some(lease) = &mut self.lease
        {
            lease.complete();
        }
    }
}

/// What the proxy answers a client with.
pub(crate) struct ResponseBody {
    source: Source,
    /// Counts the request as in flight on its connection and in the process until the body has ended.
    _in_flight: Option<crate::serving::InFlight>,
}

enum Source {
    Whole(Option<Bytes>),
    Upstream(Streamed),
    Stream(Box<LongRunning>),
}

impl ResponseBody {
    /// A body that the proxy itself wrote.
    pub(crate) fn whole(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self::new(Source::Whole((!bytes.is_empty()).then_some(bytes)))
    }

    /// A response of kube-apiserver. The lease on its connection ends with the body.
    pub(crate) fn upstream(body: UpstreamBody, ending: Ending, lease: Option<Lease>) -> Self {
        match body {
            UpstreamBody::Whole(bytes) => Self::whole(bytes),
            UpstreamBody::Streamed(incoming) => Self::new(Source::Upstream(Streamed { incoming, ending, lease })),
        }
    }

    /// A response of kube-apiserver that goes on until somebody ends it; `end` is somebody.
    pub(crate) fn long_running(
        body: UpstreamBody,
        ending: Ending,
        lease: Option<Lease>,
        framing: Framing,
        end: WaitForCancellationFutureOwned,
    ) -> Self {
        let UpstreamBody::Streamed(incoming) = body else { return Self::upstream(body, ending, lease) };
        let stream = LongRunning::new(Streamed { incoming, ending, lease }, framing, end);
        Self::new(Source::Stream(Box::new(stream)))
    }

    fn new(source: Source) -> Self {
        Self { source, _in_flight: None }
    }

    /// Holds `guard` until the body has ended or was dropped.
    pub(crate) fn holding(mut self, guard: crate::serving::InFlight) -> Self {
        self._in_flight = Some(guard);
        self
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        match &mut self.get_mut().source {
            Source::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Source::Upstream(streamed) => streamed.poll_frame(cx),
            Source::Stream(stream) => stream.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Whole(bytes) => bytes.is_none(),
            Source::Upstream(streamed) => streamed.is_end_stream(),
            Source::Stream(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Source::Upstream(streamed) => streamed.incoming.size_hint(),
            // No promise of a length: the stream may be ended early, and cleanly.
            Source::Stream(_) => SizeHint::default(),
        }
    }
}
