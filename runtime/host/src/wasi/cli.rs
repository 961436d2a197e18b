//! `wasi:cli`: no environment, no arguments, no terminal; an exit is a fault, since a connector returns.

use wasmtime::component::{HasSelf, Linker, Resource};
use wasmtime_wasi::p2::bindings::cli::{
    environment, exit, stderr, stdin, stdout, terminal_input, terminal_output, terminal_stderr, terminal_stdin,
    terminal_stdout,
};

use super::{Misused, Wasi};
use crate::imports::Guest;

pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    environment::add_to_linker::<_, HasSelf<Wasi>>(linker, Guest::wasi)?;
    exit::add_to_linker::<_, HasSelf<Wasi>>(linker, Guest::wasi)?;
    stdin::add_to_linker::<_, HasSelf<Wasi>>(linker, Guest::wasi)?;
    stdout::add_to_linker::<_, HasSelf<Wasi>>(linker, Guest::wasi)?;
    stderr::add_to_linker::<_, HasSelf<Wasi>>(linker, Guest::wasi)?;
    terminal_input::add_to_linker::<_, HasSelf<Wasi>>(linker, Guest::wasi)?;
    terminal_output::add_to_linker::<_, HasSelf<Wasi>>(linker, Guest::wasi)?;
    terminal_stdin::add_to_linker::<_, HasSelf<Wasi>>(linker, Guest::wasi)?;
    terminal_stdout::add_to_linker::<_, HasSelf<Wasi>>(linker, Guest::wasi)?;
    terminal_stderr::add_to_linker::<_, HasSelf<Wasi>>(linker, Guest::wasi)
}

impl environment::Host for Wasi {
    fn get_environment(&mut self) -> wasmtime::Result<Vec<(String, String)>> {
        Ok(Vec::new())
    }

    fn get_arguments(&mut self) -> wasmtime::Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn initial_cwd(&mut self) -> wasmtime::Result<Option<String>> {
        Ok(None)
    }
}

impl exit::Host for Wasi {
    fn exit(&mut self, status: Result<(), ()>) -> wasmtime::Result<()> {
        self.exit_with_code(status.is_err().into())
    }

    fn exit_with_code(&mut self, status: u8) -> wasmtime::Result<()> {
        Err(Misused(format!("exited with status {status} instead of returning")).into())
    }
}

/// No terminal is ever handed out.
impl terminal_input::Host for Wasi {}
impl terminal_output::Host for Wasi {}

impl terminal_input::HostTerminalInput for Wasi {
    fn drop(&mut self, terminal: Resource<terminal_input::TerminalInput>) -> wasmtime::Result<()> {
        self.table.delete(terminal)?;
        Ok(())
    }
}

impl terminal_output::HostTerminalOutput for Wasi {
    fn drop(&mut self, terminal: Resource<terminal_output::TerminalOutput>) -> wasmtime::Result<()> {
        self.table.delete(terminal)?;
        Ok(())
    }
}

impl terminal_stdin::Host for Wasi {
    fn get_terminal_stdin(&mut self) -> wasmtime::Result<Option<Resource<terminal_input::TerminalInput>>> {
        Ok(None)
    }
}

impl terminal_stdout::Host for Wasi {
    fn get_terminal_stdout(&mut self) -> wasmtime::Result<Option<Resource<terminal_output::TerminalOutput>>> {
        Ok(None)
    }
}

impl terminal_stderr::Host for Wasi {
    fn get_terminal_stderr(&mut self) -> wasmtime::Result<Option<Resource<terminal_output::TerminalOutput>>> {
        Ok(None)
    }
}
