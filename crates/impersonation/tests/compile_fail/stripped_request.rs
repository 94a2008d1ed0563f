//! A stripped request comes out of `strip`, and cannot be opened to put something back.

use http::request::Parts;
use impersonation::StrippedRequest;

fn made() -> StrippedRequest {
    StrippedRequest {}
}

fn from_parts(parts: Parts) -> StrippedRequest {
    parts.into()
}

fn written_to(request: &mut StrippedRequest) {
    request.parts.headers.clear();
}

fn headers_written_to(request: StrippedRequest) {
    request.headers().clear();
}

fn opened(request: StrippedRequest) -> Parts {
    request.into_parts()
}

fn copied() {
    fn needs_clone<T: Clone>() {}
    needs_clone::<StrippedRequest>();
}

fn main() {}
