//! The address that a provider's requests go to, in one form.
//!
//! Two settings that lead to the same address give the same text: it is stored
//! with a build, so that another address behind the same model's name is
//! noticed. It holds no secret: an address with a user name or a password is
//! refused before.

use url::Url;

use super::EmbeddingSettings;
use super::choices::Provider;

/// Where requests go without `embedding.base_url`.
pub const GEMINI_ADDRESS: &str = "https://generativelanguage.googleapis.com";
/// The same of the other API.
pub const OPENAI_ADDRESS: &str = "https://api.openai.com/v1";

impl EmbeddingSettings {
    /// `None` for the model inside the program.
    #[must_use]
    pub fn address(&self) -> Option<String> {
        let default = match self.provider {
            Provider::Local => return None,
            Provider::Gemini => GEMINI_ADDRESS,
            Provider::OpenAi => OPENAI_ADDRESS,
        };
        let base = self.base_url.as_deref().unwrap_or(default);
        Some(normal_form(base, self.provider))
    }
}

fn normal_form(base: &str, provider: Provider) -> String {
    let parsed = Url::parse(base).map_or_else(|_| base.to_owned(), |url| url.to_string());
    let address = parsed.trim_end_matches('/');
    // Without a path, `/v1` is what requests have in its place.
    let has_path = |text: &str| text.find("://").is_none_or(|at| text[at + 3..].contains('/'));
    match address.strip_suffix("/v1") {
        Some(host) if provider == Provider::OpenAi && !has_path(host) => host.to_owned(),
        _ => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_one_form_however_it_is_written() {
        let cases = [
            ("http://LOCALHOST:8080/", Provider::OpenAi, "http://localhost:8080"),
            ("http://localhost:8080/v1", Provider::OpenAi, "http://localhost:8080"),
            ("http://localhost:80/v1/", Provider::OpenAi, "http://localhost"),
            ("https://host:443", Provider::Gemini, "https://host"),
            ("https://host/v1", Provider::Gemini, "https://host/v1"),
            ("https://host/gateway/v1", Provider::OpenAi, "https://host/gateway/v1"),
            ("https://host/a", Provider::OpenAi, "https://host/a"),
            (OPENAI_ADDRESS, Provider::OpenAi, "https://api.openai.com"),
        ];
        for (written, provider, expected) in cases {
            assert_eq!(normal_form(written, provider), expected, "{written}");
        }
    }
}
