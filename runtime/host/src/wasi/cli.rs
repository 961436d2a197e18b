//! `wasi:cli`: no environment, no arguments, no terminal; an exit is a fault, since a connector returns.

use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::p2::bindings::cli::{
    environment, exit, stderr, stdin, stdout, terminal_input, terminal_output, terminal_stderr, terminal_stdin,
    terminal_stdout,
};

use super::{Entered, Misused, Ours, entered};
use crate::imports::Guest;

pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    environment::add_to_linker::<_, Ours>(linker, entered)?;
    exit::add_to_linker::<_, Ours>(linker, entered)?;
    stdin::add_to_linker::<_, Ours>(linker, entered)?;
    stdout::add_to_linker::<_, Ours>(linker, entered)?;
    stderr::add_to_linker::<_, Ours>(linker, entered)?;
    terminal_input::add_to_linker::<_, Ours>(linker, entered)?;
    terminal_output::add_to_linker::<_, Ours>(linker, entered)?;
    terminal_stdin::add_to_linker::<_, Ours>(linker, entered)?;
    terminal_stdout::add_to_linker::<_, Ours>(linker, entered)?;
    terminal_stderr::add_to_linker::<_, Ours>(linker, entered)
}

impl environment::Host for Entered<'_> {
    fn get_environment(&mut self) -> wasmtime::Result<Vec<(String, String)>> {
        self.wasi().map(|_| Vec::new())
    }

    fn get_arguments(&mut self) -> wasmtime::Result<Vec<String>> {
        self.wasi().map(|_| Vec::new())
    }

    fn initial_cwd(&mut self) -> wasmtime::Result<Option<String>> {
        self.wasi().map(|_| None)
    }
}

impl exit::Host for Entered<'_> {
    fn exit(&mut self, status: Result<(), ()>) -> wasmtime::Result<()> {
        self.exit_with_code(status.is_err().into())
    }

    fn exit_with_code(&mut self, status: u8) -> wasmtime::Result<()> {
        Err(Misused(format!("exited with status {status} instead of returning")).into())
    }
}

/// No terminal is ever handed out.
impl terminal_input::Host for Entered<'_> {}
impl terminal_output::Host for Entered<'_> {}

impl terminal_input::HostTerminalInput for Entered<'_> {
    fn drop(&mut self, terminal: Resource<terminal_input::TerminalInput>) -> wasmtime::Result<()> {
        self.wasi()?.table.delete(terminal)?;
        Ok(())
    }
}

impl terminal_output::HostTerminalOutput for Entered<'_> {
    fn drop(&mut self, terminal: Resource<terminal_output::TerminalOutput>) -> wasmtime::Result<()> {
        self.wasi()?.table.delete(terminal)?;
        Ok(())
    }
}

impl terminal_stdin::Host for Entered<'_> {
    fn get_terminal_stdin(&mut self) -> wasmtime::Result<Option<Resource<terminal_input::TerminalInput>>> {
        self.wasi().map(|_| None)
    }
}

impl terminal_stdout::Host for Entered<'_> {
    fn get_terminal_stdout(&mut self) -> wasmtime::Result<Option<Resource<terminal_output::TerminalOutput>>> {
        self.wasi().map(|_| None)
    }
}

impl terminal_stderr::Host for Entered<'_> {
    fn get_terminal_stderr(&mut self) -> wasmtime::Result<Option<Resource<terminal_output::TerminalOutput>>> {
        self.wasi().map(|_| None)
    }
}
