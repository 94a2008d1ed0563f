//! That a token is known is kube-apiserver's word, read from its answer.

use http::HeaderValue;
use impersonation::TokenReviewed;

fn made() -> TokenReviewed {
    TokenReviewed {}
}

fn for_another_token(reviewed: &mut TokenReviewed, other: HeaderValue) {
    reviewed.authorization = other;
}

fn copied() {
    fn needs_clone<T: Clone>() {}
    needs_clone::<TokenReviewed>();
}

fn main() {}
