//! The gate: the only code that opens a socket on a guest's behalf.
//!
//! [`Gate::send`] is the one way out. It decides by what an admin granted, carried in a [`Passport`], and by nothing a
//! guest can write; it attaches the credential after every check has passed; and it leaves an
//! [`Exchange`](cofferdam_domain::Exchange) in the passport's [`Trail`] whatever happens, a cancelled call included.
//!
//! [`OAuth2`] obtains and keeps the access tokens that some credentials are.
//!
//! It keeps the budgets of upstreams: what may be asked of one is a matter of requests, and may be shared by connections.
//! Rate, concurrency and breaker of a connection's attempts are its lane's, which decides before a call starts.

mod account;
mod credentials;
mod exchange;
mod gate;
#[cfg(test)]
mod heap;
mod oauth2;
mod passport;
mod refusal;

pub use account::{Account, AnswerAccount};
pub use credentials::{AccessTokenFuture, Credentials, CredentialsUnavailable, RenewalFuture};
pub use exchange::{GuestRequest, GuestResponse, HttpError};
pub use gate::budget::BudgetKey;
pub use gate::headers::added_by_clients;
pub use gate::origin::Destination;
pub use gate::record::Trail;
pub use gate::reflect::is_suspicious;
pub use gate::resolve::{Lookup, Resolver, SystemResolver};
pub use gate::tls::{BadTls, check_tls};
pub use gate::{Gate, GateConfig, GateError};
pub use oauth2::{
    AccessToken, BadRedirectUri, Consent, ConsentCode, ConsentFailed, ConsentRequest, OAuth2, OAuth2Config, TokenKey,
    TokenRefusal, TokenSource, TokenState, TokenStatus,
};
pub use passport::{Passport, Route, Routes};
pub use refusal::{Refusal, RefusalCode};
