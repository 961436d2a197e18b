//! `wasi:http`: the way out for ordinary HTTP clients, through the same gate as `http.send`.
//!
//! A request names a URL; which upstream that is, and whether it may be sent, is decided behind
//! [`Environment::send_to`](crate::Environment::send_to). What is done here is to carry it there and its answer back:
//! - Requests enter the gate in the order in which the guest handed them over, each with its whole body. The idempotency
//!   keys of a call's changes follow that order, so it has to be the same in every attempt; and what came last decides
//!   the verdict. A request therefore also waits for the bodies of those that were begun before it.
//! - At most [`REQUESTS_AT_ONCE_MAX`](super::REQUESTS_AT_ONCE_MAX) are under way; the others wait.
//! - The host takes the whole answer before the guest gets any of it: it has to be searched for secrets. Of the request
//!   options `first-byte-timeout`, with `connect-timeout` on top if that is set too, bounds the exchange as a whole;
//!   `connect-timeout` alone and `between-bytes-timeout` leave it to the connection's own limits.
//! - Trailers are neither taken nor given. `incoming-handler` is not offered.

mod errors;
pub(super) mod order;
mod outgoing;
mod setters;

use std::sync::Arc;

use http::HeaderName;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi_http::p2::bindings::http::types;
use wasmtime_wasi_http::p2::types::HostOutgoingRequest;
use wasmtime_wasi_http::{
    Error, ForbiddenHeaderFilter, RequestOptions, Result, WasiBody, WasiHttp, WasiHttpCtx, WasiHttpCtxView,
    WasiHttpHooks,
};

use super::{entered, interface};
use crate::imports::Guest;

/// Memory of one set of headers, the host's own bookkeeping included: twice what the gate lets through, so that a guest is
/// told by the gate, in a way it can handle, and is trapped only far beyond it.
const FIELDS_BYTES_MAX: usize = 32 * 1024;

/// Bytes of a request body that one write may hold; two of them can wait to be taken.
const BODY_CHUNK_BYTES_MAX: usize = 16 * 1024;

pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    types::add_to_linker::<_, WasiHttp>(linker, &types::LinkOptions::default(), view)?;
    setters::replace_in(linker)?;
    let mut handler = linker.instance(&interface("http/outgoing-handler"))?;
    handler.func_wrap(
        "handle",
        |mut store: StoreContextMut<'_, Guest>, (request, options): Handed| {
            Ok((entered(store.data_mut()).wasi()?.handle(request, options)?,))
        },
    )
}

/// What `handle` is given.
type Handed = (Resource<HostOutgoingRequest>, Option<Resource<RequestOptions>>);

/// For the types, which come with the library.
fn view(guest: &mut Guest) -> WasiHttpCtxView<'_> {
    let (calls, wasi) = guest.wasi();
    WasiHttpCtxView {
        hooks: &mut wasi.rules,
        table: calls.counted(&mut wasi.table),
        ctx: &mut wasi.http,
    }
}

pub(super) fn context() -> WasiHttpCtx {
    let mut context = WasiHttpCtx::new();
    context.set_field_size_limit(FIELDS_BYTES_MAX);
    context
}

/// Forbids no header: which ones a guest may write is for the gate to say, in one way for both doors.
pub(super) struct GateRules;

impl WasiHttpHooks for GateRules {
    fn is_forbidden_header(&mut self, _: &HeaderName) -> bool {
        false
    }

    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        Arc::new(|_| false)
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        BODY_CHUNK_BYTES_MAX
    }

    // Called by the library's own `handle`, which is not linked.
    fn send_request(
        &mut self,
        _: http::Request<WasiBody>,
        _: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<
        dyn Future<
                Output = Result<(
                    http::Response<WasiBody>,
                    Box<dyn Future<Output = Result<(), Error>> + Send>,
                )>,
            > + Send,
    > {
        Box::new(std::future::ready(Err(Error::HttpRequestDenied)))
    }
}
