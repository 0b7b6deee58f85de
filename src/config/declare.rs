//! How settings are declared: one line of `keys` for each key.
//!
//! From the lines of a section [`settings!`] makes the type that the settings
//! file is read into, the type that the program works with, a [`Key`] for each
//! line, and the comparison of two configurations key by key. In a `checked`
//! section each value is also checked and recorded; one that is settled
//! `by_hand`, or a `list`, has its rules in a file of its own.
//!
//! What a value of each kind may be is in `kinds`.

/// A key of the settings, and all that is declared about it.
#[derive(Debug)]
pub(super) struct Key {
    /// Empty for a key at the top of the file.
    pub(super) section: &'static str,
    /// As the settings file has it.
    pub(super) name: &'static str,
    /// As `Config` has it: the API key itself, not its file.
    pub(super) field: &'static str,
    /// As TOML.
    pub(super) default: Option<&'static str>,
    /// A value for the shipped file where there is no default, as TOML.
    pub(super) example: Option<&'static str>,
    pub(super) range: Option<[&'static str; 2]>,
    pub(super) variable: Option<&'static str>,
    pub(super) reload: Reload,
    pub(super) about: &'static [&'static str],
}

/// What SIGHUP does with a new value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reload {
    /// It takes effect.
    Live,
    /// It waits for a restart.
    Restart,
    /// It takes effect unless the provider changes too, which waits for a restart.
    WithProvider,
}

impl Key {
    /// The key with its section.
    pub(super) fn path(&self) -> String {
        if self.section.is_empty() { self.name.to_owned() } else { format!("{}.{}", self.section, self.name) }
    }

    /// The bounds of the value, as they are written in settings.
    pub(super) fn bounds(&self) -> Option<[&'static str; 2]> {
        self.range.map(|bounds| bounds.map(|bound| bound.trim_matches('"')))
    }
}

/// A function rather than an operator, because the lint on comparing floats does not know shares.
pub(super) fn differs<T: PartialEq>(a: &T, b: &T) -> bool {
    a != b
}

/// Declares a section; see the header.
macro_rules! settings {
    ($made:ident $section:ident: $Raw:ident => $Settings:ident {
        $(
            $(#[doc = $about:literal])+
            $field:ident $(as $name:literal)?: $kind:ty $(= $default:tt)? $(, example $example:tt)?
                $(, range $from:literal..=$to:literal)? $(, env $variable:ident)? => $reload:ident;
        )+
    }) => {
        #[allow(non_upper_case_globals, reason = "a key is named as it is written in the settings")]
        pub(super) mod $section {
            use super::super::declare::{Key, Reload};
            $(
                pub(in super::super) const $field: Key = Key {
                    section: stringify!($section),
                    name: [$($name,)? stringify!($field)][0],
                    field: stringify!($field),
                    default: [$(Some(stringify!($default)),)? None][0],
                    example: [$(Some(stringify!($example)),)? None][0],
                    range: [$(Some([stringify!($from), stringify!($to)]),)? None][0],
                    variable: [$(Some(super::super::process_env::$variable),)? None][0],
                    reload: Reload::$reload,
                    about: &[$($about),+],
                };
            )+
            /// In the order of the shipped file.
            pub(in super::super) const KEYS: &[&Key] = &[$(&$field),+];
        }

        /// The section as the settings file has it: of the right types, not yet checked.
        #[derive(Clone, Debug, Default, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(super) struct $Raw {
            $(
                $(#[serde(rename = $name)])?
                pub(super) $field: Option<toml::Spanned<<$kind as Typed>::Written>>,
            )+
        }

        settings!(@$made $section $Raw $Settings [$($(#[doc = $about])+ $field: $kind;)+]);
    };
    (@list $section:ident $Raw:ident $Settings:ident $keys:tt) => {};
    (@by_hand $section:ident $Raw:ident $Settings:ident [
        $($(#[doc = $about:literal])+ $field:ident: $kind:ty;)+
    ]) => {
        /// The section in force.
        #[derive(Clone, Debug, PartialEq)]
        pub struct $Settings {
            $($(#[doc = $about])+ pub $field: <$kind as Typed>::Value,)+
        }

        impl $Settings {
            /// The keys whose values differ.
            pub(super) fn differing(&self, other: &Self) -> Vec<&'static Key> {
                let all = [$((&$section::$field, differs(&self.$field, &other.$field))),+];
                all.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
            }

            /// Takes the values of `old` for the keys for which `waits` holds.
            pub(super) fn keep(&mut self, old: &Self, waits: &dyn Fn(&Key) -> bool) {
                $(if waits(&$section::$field) {
                    self.$field.clone_from(&old.$field);
                })+
            }
        }
    };
    (@checked $section:ident $Raw:ident $Settings:ident [
        $($(#[doc = $about:literal])+ $field:ident: $kind:ty;)+
    ]) => {
        settings!(@by_hand $section $Raw $Settings [$($(#[doc = $about])+ $field: $kind;)+]);

        impl $Raw {
            /// Checks and records every value, in the order of the shipped file.
            pub(super) fn settle(&self, resolved: &mut Resolved<'_>) -> Result<$Settings, ConfigError> {
                Ok($Settings {
                    $($field: resolved.settle::<$kind>(&$section::$field, self.$field.as_ref())?,)+
                })
            }
        }
    };
}
pub(super) use settings;
