//! A person's consent: the URL that they are sent to, and the exchange of the code that they come back with
//! (RFC 6749 section 4.1, always with PKCE S256, RFC 7636).

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use cofferdam_vault::{Cause, Expect};
use oauth2::{AuthUrl, ClientId, CsrfToken, PkceCodeChallenge, RedirectUrl, Scope};
use zeroize::Zeroizing;

use super::flight::issued;
use super::request::{self, Ask, CodeAsk, NotGranted};
use super::source::TokenSource;
use super::token_set::Consent;
use super::{OAuth2, TokenRefusal};

/// Longest authorization code, in bytes.
pub(crate) const CODE_BYTES_MAX: usize = 4096;

/// A consent that a person is asked for.
pub struct ConsentRequest {
    /// Where they are sent.
    pub url: String,
    /// What proves to the server that the code is ours. Never leaves this process but to the token endpoint.
    pub verifier: Zeroizing<String>,
}

impl fmt::Debug for ConsentRequest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("ConsentRequest")
    }
}

/// What a person came back with.
pub struct ConsentCode {
    /// As the server wrote it.
    pub code: Zeroizing<String>,
    /// Of the request that it answers.
    pub verifier: Zeroizing<String>,
    /// Of the request that it answers.
    pub redirect_uri: String,
    /// Who began it.
    pub by: String,
}

/// The text is no absolute URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the redirect URI is no absolute URL")]
pub struct BadRedirectUri;

/// A code that gave no tokens. The texts hold nothing of the server's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConsentFailed {
    /// The upstream's tokens need no consent.
    #[error("the upstream's tokens are the client's own and need no consent")]
    NotByConsent,
    /// The code is none.
    #[error("the code is empty or longer than {CODE_BYTES_MAX} bytes")]
    BadCode,
    /// The client's secret is not set.
    #[error("the OAuth 2.0 client's secret is not set: set it and connect again")]
    SecretMissing,
    /// The server said no.
    #[error("the authorization server refused the code ({0})")]
    Refused(TokenRefusal),
    /// The server could not be asked, or was not understood.
    #[error("the code could not be exchanged: {0}")]
    Unavailable(String),
    /// The vault fails.
    #[error("the tokens could not be stored; the server's log says why")]
    NotStored,
}

impl TokenSource {
    /// The URL that a person is sent to, with `state` in it; none if the upstream's tokens need no consent.
    ///
    /// # Errors
    /// When `redirect_uri` is no URL.
    pub fn consent_request(&self, state: &str, redirect_uri: &str) -> Result<Option<ConsentRequest>, BadRedirectUri> {
        let Some(authorize_url) = &self.grant.authorize_url else {
            return Ok(None);
        };
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let redirect_url = RedirectUrl::new(redirect_uri.to_owned()).map_err(|_| BadRedirectUri)?;
        let client = oauth2::basic::BasicClient::new(ClientId::new(self.grant.client_id.clone()))
            .set_auth_uri(AuthUrl::from_url(authorize_url.as_url().clone()));
        let state = state.to_owned();
        let mut request = client
            .authorize_url(move || CsrfToken::new(state))
            .set_pkce_challenge(challenge)
            .set_redirect_uri(Cow::Owned(redirect_url))
            .add_scopes(self.grant.scopes().iter().cloned().map(Scope::new));
        if let Some(audience) = &self.grant.audience {
            request = request.add_extra_param("audience", audience);
        }
        for (name, value) in &self.grant.authorize_parameters {
            request = request.add_extra_param(name, value);
        }
        let (url, _) = request.url();
        Ok(Some(ConsentRequest {
            url: url.into(),
            verifier: Zeroizing::new(verifier.into_secret()),
        }))
    }
}

impl OAuth2 {
    /// Exchanges a code and stores the tokens, over whatever is there. Dropped, it goes on all the same.
    ///
    /// # Errors
    /// When there are no tokens, or they could not be stored; a code is good for one try.
    pub async fn consented(&self, source: TokenSource, consent: ConsentCode) -> Result<(), ConsentFailed> {
        let engine = self.clone();
        let exchange = tokio::spawn(async move { engine.exchanged(&Arc::new(source), consent).await });
        match exchange.await {
            Ok(exchanged) => exchanged,
            Err(_) => Err(ConsentFailed::NotStored),
        }
    }

    async fn exchanged(&self, source: &TokenSource, consent: ConsentCode) -> Result<(), ConsentFailed> {
        let inner = &self.inner;
        if source.grant.authorize_url.is_none() {
            return Err(ConsentFailed::NotByConsent);
        }
        if !(1..=CODE_BYTES_MAX).contains(&consent.code.len()) {
            return Err(ConsentFailed::BadCode);
        }
        let secret = match source.client_secret() {
            None => None,
            Some(key) => {
                let kept = inner.sets.read(&key).map_err(|_| ConsentFailed::NotStored)?;
                Some(kept.ok_or(ConsentFailed::SecretMissing)?.value)
            }
        };
        let asked = Ask::Code(CodeAsk {
            code: &consent.code,
            verifier: &consent.verifier,
            redirect_uri: &consent.redirect_uri,
        });
        let granted = request::ask(inner.endpoint.as_ref(), source, secret.as_ref(), asked).await;
        let granted = granted.map_err(|error| match error {
            NotGranted::Refused(why) => ConsentFailed::Refused(why),
            NotGranted::Blocked(reason) | NotGranted::Unavailable { reason, .. } => ConsentFailed::Unavailable(reason),
        })?;
        let now = (inner.clock)();
        let mut set = issued(granted, source, now);
        set.consent = Some(Consent {
            by: consent.by.clone(),
            at: now,
        });
        let written = inner.written(&source.key, &set, Expect::Any, Cause::Set).await;
        written.map_err(|error| {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                connection = %source.key.connection,
                "the tokens of a consent could not be made durable"
            );
            ConsentFailed::NotStored
        })?;
        let holder = inner.holder(&source.key);
        let mut memory = holder.lock();
        memory.open();
        // Those of the consent before are worth nothing now.
        (memory.renewed, memory.unsaved, memory.used) = (None, None, false);
        drop(memory);
        let key = &source.key;
        tracing::info!(workspace = %key.workspace, connection = %key.connection, credential = %key.credential, by = consent.by, "a person has consented");
        Ok(())
    }
}
