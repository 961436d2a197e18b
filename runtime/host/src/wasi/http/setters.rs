//! What a guest writes into a request before it hands it over, with a bound for each part. The library has none for methods and
//! authorities, and holds what it is given for as long as there is the request.
//!
//! A part that is too long is answered as one that is malformed is, by the error that the interface has for it.

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi_http::p2::bindings::http::types::{HostOutgoingRequest as _, Method, Scheme};
use wasmtime_wasi_http::p2::types::HostOutgoingRequest;

use super::{interface, view};
use crate::imports::Guest;

/// Longest method, in bytes. The longest that is registered has 17
/// (<https://www.iana.org/assignments/http-methods/http-methods.xhtml>).
const METHOD_BYTES_MAX: usize = 64;

/// Longest authority, in bytes. A host name has 253 at most (RFC 1035, section 2.3.4); whoever writes more is told by the gate that
/// there is no such upstream, and by this only far beyond it.
const AUTHORITY_BYTES_MAX: usize = 8 * 1024;

/// Longest path with its query, in bytes: more than servers take.
const PATH_BYTES_MAX: usize = 16 * 1024;

/// Longest scheme, in bytes.
const SCHEME_BYTES_MAX: usize = 64;

/// One part of a request, as the guest gives it.
type Set<T> = (Resource<HostOutgoingRequest>, T);

/// What a setter answers.
type Answer = wasmtime::Result<(Result<(), ()>,)>;

/// Puts setters with bounds in the place of the library's.
pub(super) fn replace_in(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut types = linker.instance(&interface("http/types"))?;
    types.func_wrap(
        "[method]outgoing-request.set-method",
        |mut store: StoreContextMut<'_, Guest>, (request, method): Set<Method>| -> Answer {
            let mut view = view(store.data_mut());
            if matches!(&method, Method::Other(name) if name.len() > METHOD_BYTES_MAX) {
                return Ok((Err(()),));
            }
            Ok((view.set_method(request, method)?,))
        },
    )?;
    types.func_wrap(
        "[method]outgoing-request.set-path-with-query",
        |mut store: StoreContextMut<'_, Guest>, (request, path): Set<Option<String>>| -> Answer {
            let mut view = view(store.data_mut());
            if is_longer(path.as_ref(), PATH_BYTES_MAX) {
                return Ok((Err(()),));
            }
            Ok((view.set_path_with_query(request, path)?,))
        },
    )?;
    types.func_wrap(
        "[method]outgoing-request.set-scheme",
        |mut store: StoreContextMut<'_, Guest>, (request, scheme): Set<Option<Scheme>>| -> Answer {
            let mut view = view(store.data_mut());
            if matches!(&scheme, Some(Scheme::Other(name)) if name.len() > SCHEME_BYTES_MAX) {
                return Ok((Err(()),));
            }
            Ok((view.set_scheme(request, scheme)?,))
        },
    )?;
    types.func_wrap(
        "[method]outgoing-request.set-authority",
        |mut store: StoreContextMut<'_, Guest>, (request, authority): Set<Option<String>>| -> Answer {
            let mut view = view(store.data_mut());
            if is_longer(authority.as_ref(), AUTHORITY_BYTES_MAX) {
                return Ok((Err(()),));
            }
            Ok((view.set_authority(request, authority)?,))
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

fn is_longer(text: Option<&String>, bytes_max: usize) -> bool {
    text.is_some_and(|text| text.len() > bytes_max)
}
