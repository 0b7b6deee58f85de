//! What a SELECT of the settings may do: read, and nothing else.
//!
//! SQLite asks before each step that it compiles. Whatever is not on the list
//! is refused, whether this program knows it or not. Functions that give
//! another value at each call would make every scan another content.

use rusqlite::Connection;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};

/// Functions that say something about the connection or about nothing, never about the rows.
const REFUSED_FUNCTIONS: [&str; 6] =
    ["load_extension", "random", "randomblob", "changes", "total_changes", "last_insert_rowid"];
/// FTS5 asks whether its table has changed.
const ALLOWED_PRAGMA: &str = "data_version";

/// Lets the connection do nothing but read from now on.
pub(super) fn allow_only_reading(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.authorizer(Some(|context: AuthContext<'_>| decide(&context.action)))
}

fn decide(action: &AuthAction<'_>) -> Authorization {
    let is_allowed = match *action {
        AuthAction::Select | AuthAction::Read { .. } | AuthAction::Recursive => true,
        AuthAction::Function { function_name } => {
            !REFUSED_FUNCTIONS.iter().any(|refused| function_name.eq_ignore_ascii_case(refused))
        }
        AuthAction::Pragma { pragma_name, pragma_value: None } => {
            pragma_name.eq_ignore_ascii_case(ALLOWED_PRAGMA)
        }
        _ => false,
    };
    if is_allowed { Authorization::Allow } else { Authorization::Deny }
}
