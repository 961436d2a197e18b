//! From a core module to a component.

use wit_component::{ComponentEncoder, DecodedWasm};

use super::error::BuildError;

/// The package that a connector's imports are from, whatever its version.
const CONTRACT: &str = "cofferdam:connector/";

/// What a connector may import of WASI, of any version 0.2: what the host links of it.
const WASI: [&str; 7] = [
    "wasi:cli/",
    "wasi:clocks/",
    "wasi:filesystem/",
    "wasi:http/",
    "wasi:io/",
    "wasi:random/",
    "wasi:sockets/",
];

/// What every connector exports, whatever its version.
const DESCRIBE: &str = "cofferdam:connector/describe@";

/// Makes a component of the module, by the description of its imports and exports that the SDK put into it.
pub(super) fn encode(name: &str, core: &[u8]) -> Result<Vec<u8>, BuildError> {
    let failed = |source| BuildError::Component {
        name: name.to_owned(),
        source,
    };
    let component = ComponentEncoder::default()
        .validate(true)
        .module(core)
        .and_then(|mut encoder| encoder.encode())
        .map_err(failed)?;
    let surface = surface(&component).map_err(failed)?;
    if !surface.exports.iter().any(|export| export.starts_with(DESCRIBE)) {
        return Err(failed(anyhow::anyhow!("it does not export {DESCRIBE}")));
    }
    let of_wasi = |import: &str| import.contains("@0.2.") && WASI.iter().any(|package| import.starts_with(package));
    let foreign = |import: &String| !import.starts_with(CONTRACT) && !of_wasi(import);
    let imports: Vec<String> = surface.imports.into_iter().filter(foreign).collect();
    if imports.is_empty() {
        Ok(component)
    } else {
        Err(BuildError::ForeignImports {
            name: name.to_owned(),
            imports,
        })
    }
}

/// What the component imports and exports, by full name.
struct Surface {
    imports: Vec<String>,
    exports: Vec<String>,
}

fn surface(component: &[u8]) -> anyhow::Result<Surface> {
    match wit_component::decode(component)? {
        DecodedWasm::Component(resolve, world) => {
            let world = &resolve.worlds[world];
            Ok(Surface {
                imports: world.imports.keys().map(|key| resolve.name_world_key(key)).collect(),
                exports: world.exports.keys().map(|key| resolve.name_world_key(key)).collect(),
            })
        }
        DecodedWasm::WitPackage(..) => anyhow::bail!("it is a WIT package, not a component"),
    }
}
