//! What goes upstream is a stripped request with an impersonation, and nothing is taken from it or added.

use http::request::Parts;
use impersonation::{Impersonation, UpstreamRequest, apply};

fn made() -> UpstreamRequest {
    UpstreamRequest {}
}

fn from_parts(parts: Parts) -> UpstreamRequest {
    parts.into()
}

fn not_stripped(impersonation: &Impersonation, parts: Parts) -> UpstreamRequest {
    apply(impersonation, parts)
}

fn written_to(request: &mut UpstreamRequest) {
    request.parts.headers.clear();
}

fn headers_written_to(request: UpstreamRequest) {
    request.headers().clear();
}

fn copied() {
    fn needs_clone<T: Clone>() {}
    needs_clone::<UpstreamRequest>();
}

fn main() {}
