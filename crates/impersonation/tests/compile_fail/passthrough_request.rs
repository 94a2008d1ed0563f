//! A request with the user's own token needs a proof that the token is known, and is no request for the proxy's own
//! connections.

use http::HeaderValue;
use http::request::Parts;
use impersonation::{BearerToken, PassthroughRequest, StrippedRequest, UpstreamRequest};

fn made() -> PassthroughRequest {
    PassthroughRequest {}
}

fn not_reviewed(token: HeaderValue, request: StrippedRequest) -> PassthroughRequest {
    PassthroughRequest::new(token, request, None)
}

fn reviewed_by_nobody(token: &BearerToken, request: StrippedRequest) -> PassthroughRequest {
    PassthroughRequest::reviewed(token, request, None)
}

fn for_the_other_pool(request: PassthroughRequest) -> UpstreamRequest {
    request
}

fn opened(request: &mut PassthroughRequest) -> &mut Parts {
    &mut request.parts
}

fn copied() {
    fn needs_clone<T: Clone>() {}
    needs_clone::<PassthroughRequest>();
}

fn main() {}
