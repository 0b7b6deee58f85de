//! The program: signal handlers, arguments, then the daemon or one command.

use clap::Parser;
use reindexd::adapters::signals::{self, Handlers};
use reindexd::cli::{self, Args};
use reindexd::{app, daemon};

fn main() {
    let handlers = match Handlers::install() {
        Ok(handlers) => handlers,
        Err(error) => {
            eprintln!("reindexd: cannot install signal handlers: {error}");
            signals::exit_process(app::FAILED);
        }
    };
    signals::exit_process(match Args::try_parse() {
        Err(error) => cli::usage(&error),
        Ok(args) if args.is_agent() => daemon::main(&args.start_options(), &handlers),
        Ok(args) => cli::main(&args, &handlers),
    })
}
