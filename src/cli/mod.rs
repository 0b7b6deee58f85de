//! The commands: arguments in, text for people or JSON for programs out, an exit code.
//!
//! One file for each command. This one starts the program for a command and
//! calls it; `args` holds the arguments and `print` what the commands print
//! alike. Nothing is decided here.

mod args;
mod build;
mod config;
mod diff;
mod eval;
mod history;
mod init;
mod plan;
mod print;
mod progress;
mod read_limit;
mod rollback;
mod search;
mod status;
mod sweep;
mod table;
mod targets;
mod text;
mod verify;

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::json;

use crate::adapters::signals::{self, Handlers};
use crate::app::print::{note_output, output_error};
use crate::app::{self, StartError};
use crate::domain::text::one_line;

pub use args::Args;

use crate::app::{BUSY, Context, DONE, FAILED, USAGE, clock, code_of, embedder};
use crate::logging;
use args::Command;
use print::{fail, log_warnings, print, print_error, print_json};
use read_limit::{READ_LIMIT, ReadLimit};

/// A panic's message is shown up to here: it may quote what it met.
const MAX_PANIC_CHARS: usize = 400;

/// Runs the command that the arguments name, and returns the exit code.
#[must_use]
pub fn main(args: &Args, handlers: &Handlers) -> u8 {
    let ended = without_panic(|| run(args, handlers));
    logging::flush();
    let code = ended.unwrap_or_else(|StartError { code, message }| {
        if args.json {
            print_json(&args.command.not_started(&message));
        }
        print_error(&message);
        code
    });
    code_of_output(code)
}

/// The exit code of a command that ends with this one: output that is lost is a failure.
fn code_of_output(code: u8) -> u8 {
    let Some(message) = output_error() else { return code };
    print_error(&message);
    if code == DONE { FAILED } else { code }
}

/// Runs a command; a panic, which is our own bug, ends it as any failure does.
fn without_panic(command: impl FnOnce() -> Result<u8, StartError>) -> Result<u8, StartError> {
    // What the command worked with is dropped by the panic, and nothing of it is used afterwards.
    catch_unwind(AssertUnwindSafe(command)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message");
        let message = format!(
            "a fault in the program itself ended the command: {}; please report it; what was served before is still served",
            one_line(text, MAX_PANIC_CHARS)
        );
        Err(StartError { code: FAILED, message })
    })
}

fn run(args: &Args, handlers: &Handlers) -> Result<u8, StartError> {
    // Before the first file is opened: any call to a file system may hang, and so may standard error.
    app::end_after_stop(handlers, None)?;
    if let Command::Init(options) = &args.command {
        return Ok(init::run(args.json, args.config.as_deref(), options));
    }
    let limit = matches!(args.command, Command::Status(_)).then(|| limit_reading(args.json)).transpose()?;
    let loaded = app::load(&args.start_options())?;
    if matches!(&args.command, Command::Config(options) if !options.check) {
        return Ok(config::run(args.json, &loaded));
    }
    if let Some(limit) = &limit {
        limit.begin(&loaded.config.publish.index);
    }
    let mut context = Context::new(loaded.config, args.json)?;
    if let Some(limit) = limit.clone() {
        context.stop = context.stop.also_reporting_to(move || limit.beat());
    }
    context
        .listen_for_signals(handlers)
        .map_err(|error| StartError { code: FAILED, message: format!("cannot receive signals: {error}") })?;
    let code = match &args.command {
        Command::Build(options) => build::run(&context, options),
        Command::Plan { check } => plan::plan(&context, *check),
        Command::Status(options) => status::run(&context, options, limit.as_ref()),
        Command::Verify { build } => verify::run(&context, build.as_deref()),
        Command::History => history::run(&context),
        Command::Diff(options) => diff::run(&context, options),
        Command::Rollback { release: true, .. } => rollback::end_hold(&context),
        Command::Rollback { build, accept_space, .. } => {
            rollback::run(&context, build.clone(), *accept_space)
        }
        Command::Search { query, k } => search::run(&context, query, usize::from(*k)),
        Command::Eval(options) => eval::run(&context, options),
        Command::Text(options) => text::run(&context, options),
        Command::Sweep => sweep::run(&context),
        Command::Config(_) => config::check(&context),
        Command::Run | Command::Init(_) => {
            unreachable!("run is the daemon's, init has returned")
        }
    };
    // Requests that are still open must not delay the exit.
    context.runtime.shutdown_background();
    Ok(code)
}

/// Ends the process where a file system does not answer.
fn limit_reading(json: bool) -> Result<ReadLimit, StartError> {
    let give_up = move |what: &str| {
        let seconds = READ_LIMIT.as_secs();
        let message = format!(
            "no answer for {seconds} s while {what} was being read: its file system hangs; what is served is not known"
        );
        signals::exit_process(fail(json, FAILED, &message));
    };
    ReadLimit::start(READ_LIMIT, give_up).map_err(|error| StartError {
        code: FAILED,
        message: format!("cannot start the thread that limits reading: {error}"),
    })
}

/// Prints clap's message; help and version are not failures.
#[must_use]
pub fn usage(error: &clap::Error) -> u8 {
    let printed = error.print().and_then(|()| std::io::stdout().flush());
    if !error.use_stderr() {
        note_output(printed);
        return code_of_output(DONE);
    }
    // The arguments could not be parsed, but a caller that wrote this one waits for an object.
    if std::env::args_os().any(|argument| argument == "--json") {
        let message = error.to_string();
        let first = message.lines().next().unwrap_or_default();
        print_json(&json!({ "error": first.strip_prefix("error: ").unwrap_or(first) }));
    }
    code_of_output(USAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_ends_a_command_as_a_failure_with_its_message() {
        let StartError { code, message } =
            without_panic(|| panic!("a count of {} that\ncannot be", 7)).unwrap_err();

        assert_eq!(code, FAILED);
        assert!(message.contains("a count of 7 that cannot be; please report it"), "{message}");
        assert_eq!(without_panic(|| Ok(BUSY)).ok(), Some(BUSY));
    }
}
