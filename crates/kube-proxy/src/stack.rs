//! The way of one request, from top to bottom. Each step says why it stands where it stands.

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderName, Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use identity::VerifiedIdentity;
use impersonation::{
    BearerToken, Impersonation, PassthroughRequest, RequestedImpersonation, StrippedRequest, apply,
    named_in_connection, strip,
};
use ipnet::IpNet;
use tokio_util::sync::CancellationToken;

use crate::body::{Ending, RequestBody, ResponseBody};
use crate::client_address;
use crate::issuers::{Authenticated, Issuers};
use crate::long_running::{Framing, is_long_running};
use crate::refusals;
use crate::reviews::Reviewer;
use crate::serving::Connection;
use crate::status::Refusal;
use crate::trail::{Trail, TrailLog, Who};
use crate::tunnel::Tunnels;
use crate::upstream::{Credentialless, Impersonating, SendError};

/// What a request needs on its way.
pub(crate) struct Stack {
    pub(crate) issuers: Arc<Issuers>,
    pub(crate) reviewer: Reviewer,
    pub(crate) impersonating: Impersonating,
    pub(crate) credentialless: Credentialless,
    pub(crate) tunnels: Tunnels,
    pub(crate) behaviour: Behaviour,
    pub(crate) trails: TrailLog,
    /// Ends watches and followed logs when the server drains.
    pub(crate) end_streams: CancellationToken,
}

/// What the operator chose.
#[derive(Clone, Debug, Default)]
pub(crate) struct Behaviour {
    /// `--disable-impersonation`.
    pub(crate) disable_impersonation: bool,
    /// `--token-passthrough`.
    pub(crate) token_passthrough: bool,
    /// `--extra-user-header-client-ip`.
    pub(crate) client_ip_extra: bool,
    /// `--extra-user-headers`, for `--as`; for everybody else they are part of what is remembered with the token.
    pub(crate) extra: Vec<(String, String)>,
    /// `--forwarded-for-from`.
    pub(crate) forwarded_for_from: Vec<IpNet>,
    /// `--max-impersonation-header-values`.
    pub(crate) max_impersonation_values: usize,
}

/// As whom a request goes on.
enum Outbound {
    Impersonated(impersonation::UpstreamRequest),
    Passthrough(PassthroughRequest),
}

/// `--extra-user-header-client-ip`: the key of the extra field, as kube-oidc-proxy has it.
pub(crate) const CLIENT_IP_EXTRA: &str = "remote-client-ip";

impl Stack {
    /// Answers one request; every refusal becomes a `metav1.Status` here and nowhere else.
    pub(crate) async fn answer(
        &self,
        connection: &Arc<Connection>,
        request: Request<Incoming>,
    ) -> Response<ResponseBody> {
        let mut trail = Trail::begin(connection.peer, &request);
        match self.forward(connection, request, &mut trail).await {
            Ok(response) => {
                self.trails.forwarded(&trail, response.status());
                response
            }
            Err(refusal) => {
                self.trails.refused(&trail, &refusal);
                refusal.into_response()
            }
        }
    }

    async fn forward(
        &self,
        connection: &Arc<Connection>,
        mut request: Request<Incoming>,
        trail: &mut Trail,
    ) -> Result<Response<ResponseBody>, Refusal> {
        if request.version() < Version::HTTP_11 {
            return Err(refusals::http_1_0());
        }
        // 1. The client's address, while the header that may tell it is still there.
        let client = client_address::resolve(connection.peer, request.headers(), &self.behaviour.forwarded_for_from);
        trail.client = client;

        // 2. The switch to another protocol, if the client asks for one: hyper hands it over with the request.
        let on_upgrade = hyper::upgrade::on(&mut request);

        // 3. Strip, before anything of ours is added and whatever the verdict will be (invariant 2).
        let (parts, body) = request.into_parts();
        let long_running = is_long_running(&parts.method, &parts.uri);
        let version = parts.version;
        let mut stripped = strip(parts, self.behaviour.max_impersonation_values).map_err(refusals::strip)?;
        stripped.request.set_forwarded_for(client);

        // 4. Who is it? Without a credential, nobody: there is no anonymous access through this proxy.
        let token = stripped.credential.ok_or_else(|| refusals::no_credential(stripped.other_scheme))?;
        let outbound = match self.issuers.authenticate(token.expose()).await {
            // 5. As whom does it go on?
            Ok(user) => {
                trail.who = Who::Proved(user.clone());
                trail.wants_to_be = stripped.requested.as_ref().map(|requested| requested.user().to_owned());
                self.as_whom(&user, &token, stripped.request, stripped.requested, client).await?
            }
            // Only a token of which nobody here can say anything. One that an issuer of ours should have vouched for
            // stays refused, or kube-apiserver, which may know that issuer too, would let in what is refused here.
            Err(error) if self.behaviour.token_passthrough && error.is_of_nobody_here() => {
                let reviewed = self.reviewer.review_token(&token).await;
                let reviewed = reviewed.map_err(|review| refusals::passthrough(&error, &review))?;
                trail.who = Who::Reviewed(reviewed.username().to_owned());
                Outbound::Passthrough(PassthroughRequest::reviewed(&reviewed, stripped.request, stripped.requested))
            }
            Err(error) => return Err(refusals::authentication(&error)),
        };
        connection.prove();

        // 6. To kube-apiserver, on the connections that fit the proof.
        if stripped.upgrade {
            return self.upgrade(connection, outbound, on_upgrade).await;
        }
        let (body, client_body) = RequestBody::from_client(body, version);
        let (response, lease) = match outbound {
            Outbound::Impersonated(request) => self.impersonating.send(request, body).await,
            Outbound::Passthrough(request) => self.credentialless.send(request, body).await,
        }
        .map_err(|error| match client_body.has_failed() {
            true => refusals::client_body(&error),
            false => refusals::upstream(&error),
        })?;
        let ending = Ending::of(response.version());
        let framing = Framing::of(response.headers());
        Ok(downstream(response).map(|body| {
            if long_running {
                let end = self.end_streams.clone().cancelled_owned();
                ResponseBody::long_running(body, ending, lease, framing, end)
            } else {
                ResponseBody::upstream(body, ending, lease)
            }
        }))
    }

    async fn as_whom(
        &self,
        user: &Arc<Authenticated>,
        token: &BearerToken,
        request: StrippedRequest,
        requested: Option<RequestedImpersonation>,
        client: IpAddr,
    ) -> Result<Outbound, Refusal> {
        if self.behaviour.disable_impersonation {
            return Ok(Outbound::Passthrough(PassthroughRequest::verified(&user.identity, token, request, requested)));
        }
        let other;
        let impersonation = match requested {
            None => &user.impersonation,
            // Only after kube-apiserver has said that this user may.
            Some(requested) => {
                other = self.another(requested, &user.identity).await?;
                &other
            }
        };
        if !self.behaviour.client_ip_extra {
            return Ok(Outbound::Impersonated(apply(impersonation, request)));
        }
        let address = client.to_string();
        let with_address = impersonation
            .with_extra([(CLIENT_IP_EXTRA, address.as_str())].into_iter())
            .map_err(|error| refusals::unrepresentable(&error))?;
        Ok(Outbound::Impersonated(apply(&with_address, request)))
    }

    async fn another(
        &self,
        requested: RequestedImpersonation,
        requester: &VerifiedIdentity,
    ) -> Result<Impersonation, Refusal> {
        let target = self.reviewer.authorize(requested, requester).await.map_err(|error| refusals::review(&error))?;
        let target = Impersonation::of_target(target, requester).map_err(|error| refusals::unrepresentable(&error))?;
        if self.behaviour.extra.is_empty() {
            return Ok(target);
        }
        let extra = self.behaviour.extra.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        target.with_extra(extra).map_err(|error| refusals::unrepresentable(&error))
    }

    async fn upgrade(
        &self,
        connection: &Arc<Connection>,
        outbound: Outbound,
        on_upgrade: OnUpgrade,
    ) -> Result<Response<ResponseBody>, Refusal> {
        let sent: Result<_, SendError> = match outbound {
            Outbound::Impersonated(request) => self.impersonating.upgrade(request).await,
            Outbound::Passthrough(request) => self.credentialless.upgrade(request).await,
        };
        let mut response = sent.map_err(|error| refusals::upstream(&error))?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(downstream(response).map(|body| ResponseBody::upstream(body, Ending::Any, None)));
        }
        self.tunnels.join(on_upgrade, &mut response, connection.begin());
        // Of a response that has no body, these would say something about one.
        for name in [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, HeaderName::from_static("keep-alive")] {
            response.headers_mut().remove(name);
        }
        Ok(response.map(|_switched| ResponseBody::whole("")))
    }
}

/// RFC 9110 section 7.6.1: what concerns the connection to kube-apiserver stays there.
fn downstream<B>(mut response: Response<B>) -> Response<B> {
    const HOP_BY_HOP: [HeaderName; 6] = [
        header::CONNECTION,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        header::PROXY_AUTHENTICATE,
    ];
    for name in named_in_connection(response.headers()).collect::<Vec<_>>().iter().chain(&HOP_BY_HOP) {
        response.headers_mut().remove(name);
    }
    *response.version_mut() = Version::default();
    response.extensions_mut().clear();
    response
}
