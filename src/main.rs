//! The program: signals first, then arguments, logs, one command, an exit code.

use clap::Parser;
use reindexd::adapters::signals::{self, Handlers};
use reindexd::cli::{self, Args};

fn main() {
    let handlers = match Handlers::install() {
        Ok(handlers) => handlers,
        Err(error) => {
            eprintln!("reindexd: cannot hear signals: {error}");
            signals::exit_process(cli::FAILED);
        }
    };
    signals::exit_process(match Args::try_parse() {
        Ok(args) => cli::main(&args, handlers),
        Err(error) => cli::usage(&error),
    })
}
