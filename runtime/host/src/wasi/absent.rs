//! What connectors are not given and guests are built against all the same: files and sockets.
//!
//! There is no code behind these names but what is here. No directory is open, so there is no descriptor to call a method
//! of; making a socket and asking for a name's addresses are refused, so there is no socket either.

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, LinkerInstance, Resource, ResourceType, Val};
use wasmtime_wasi::p2::{IoError, bindings};

use super::{Misused, entered, interface};
use crate::imports::Guest;

/// Stands for a resource that is never made.
enum Never {}

/// `wasi:sockets/network.network`: a capability to nothing, which functions that refuse take as an argument.
struct NoNetwork;

/// Methods by resource, as the interfaces name them (<https://github.com/WebAssembly/WASI/tree/main/proposals>).
const DESCRIPTOR: &[&str] = &[
    "read-via-stream",
    "write-via-stream",
    "append-via-stream",
    "advise",
    "sync-data",
    "get-flags",
    "get-type",
    "set-size",
    "set-times",
    "read",
    "write",
    "read-directory",
    "sync",
    "create-directory-at",
    "stat",
    "stat-at",
    "set-times-at",
    "link-at",
    "open-at",
    "readlink-at",
    "remove-directory-at",
    "rename-at",
    "symlink-at",
    "unlink-file-at",
    "is-same-object",
    "metadata-hash",
    "metadata-hash-at",
];
const TCP_SOCKET: &[&str] = &[
    "start-bind",
    "finish-bind",
    "start-connect",
    "finish-connect",
    "start-listen",
    "finish-listen",
    "accept",
    "local-address",
    "remote-address",
    "is-listening",
    "address-family",
    "set-listen-backlog-size",
    "keep-alive-enabled",
    "set-keep-alive-enabled",
    "keep-alive-idle-time",
    "set-keep-alive-idle-time",
    "keep-alive-interval",
    "set-keep-alive-interval",
    "keep-alive-count",
    "set-keep-alive-count",
    "hop-limit",
    "set-hop-limit",
    "receive-buffer-size",
    "set-receive-buffer-size",
    "send-buffer-size",
    "set-send-buffer-size",
    "subscribe",
    "shutdown",
];
const UDP_SOCKET: &[&str] = &[
    "start-bind",
    "finish-bind",
    "stream",
    "local-address",
    "remote-address",
    "address-family",
    "unicast-hop-limit",
    "set-unicast-hop-limit",
    "receive-buffer-size",
    "set-receive-buffer-size",
    "send-buffer-size",
    "set-send-buffer-size",
    "subscribe",
];

pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    files(linker)?;
    network(linker)?;
    sockets(linker)
}

fn files(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let mut types = linker.instance(&interface("filesystem/types"))?;
    never(&mut types, "descriptor", DESCRIPTOR)?;
    never(&mut types, "directory-entry-stream", &["read-directory-entry"])?;
    types.func_wrap(
        "filesystem-error-code",
        |mut store: StoreContextMut<'_, Guest>, (_error,): (Resource<IoError>,)| {
            store.data_mut().calls.count()?;
            Ok((None::<bindings::filesystem::types::ErrorCode>,))
        },
    )?;
    let mut preopens = linker.instance(&interface("filesystem/preopens"))?;
    answer(&mut preopens, "get-directories", || Val::List(Vec::new()))
}

fn network(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let mut network = linker.instance(&interface("sockets/network"))?;
    network.resource("network", ResourceType::host::<NoNetwork>(), |mut store, rep| {
        let network = Resource::<NoNetwork>::new_own(rep);
        entered(store.data_mut()).wasi()?.table.delete(network)?;
        Ok(())
    })?;
    let mut instance = linker.instance(&interface("sockets/instance-network"))?;
    instance.func_wrap("instance-network", |mut store: StoreContextMut<'_, Guest>, ()| {
        Ok((entered(store.data_mut()).wasi()?.table.push(NoNetwork)?,))
    })?;
    let mut lookup = linker.instance(&interface("sockets/ip-name-lookup"))?;
    let methods = ["resolve-next-address", "subscribe"];
    never(&mut lookup, "resolve-address-stream", &methods)?;
    lookup.func_wrap(
        "resolve-addresses",
        |mut store: StoreContextMut<'_, Guest>, (_network, _name): (Resource<NoNetwork>, String)| {
            store.data_mut().calls.count()?;
            let denied = bindings::sockets::network::ErrorCode::AccessDenied;
            Ok((Err::<Resource<Never>, _>(denied),))
        },
    )
}

fn sockets(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let mut tcp = linker.instance(&interface("sockets/tcp"))?;
    never(&mut tcp, "tcp-socket", TCP_SOCKET)?;
    let mut create = linker.instance(&interface("sockets/tcp-create-socket"))?;
    answer(&mut create, "create-tcp-socket", access_denied)?;
    let mut udp = linker.instance(&interface("sockets/udp"))?;
    never(&mut udp, "udp-socket", UDP_SOCKET)?;
    never(&mut udp, "incoming-datagram-stream", &["receive", "subscribe"])?;
    let methods = ["check-send", "send", "subscribe"];
    never(&mut udp, "outgoing-datagram-stream", &methods)?;
    let mut create = linker.instance(&interface("sockets/udp-create-socket"))?;
    answer(&mut create, "create-udp-socket", access_denied)
}

/// `result::err(error-code::access-denied)`.
fn access_denied() -> Val {
    Val::Result(Err(Some(Box::new(Val::Enum("access-denied".to_owned())))))
}

/// A function that gives the same answer whatever it is asked, and is lent no resource.
fn answer(instance: &mut LinkerInstance<'_, Guest>, name: &str, value: fn() -> Val) -> wasmtime::Result<()> {
    instance.func_new(name, move |mut store, _, _, results| {
        store.data_mut().calls.count()?;
        for result in results {
            *result = value();
        }
        Ok(())
    })
}

/// A resource that is never made, and its methods, which nobody can call.
fn never(instance: &mut LinkerInstance<'_, Guest>, resource: &str, methods: &[&str]) -> wasmtime::Result<()> {
    instance.resource(resource, ResourceType::host::<Never>(), |_, _| Ok(()))?;
    for method in methods {
        let name = format!("[method]{resource}.{method}");
        instance.func_new(&name.clone(), move |_, _, _, _| {
            Err(Misused(format!("{name} is not available to connectors")).into())
        })?;
    }
    Ok(())
}
