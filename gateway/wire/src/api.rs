//! The APIs a caller can speak, and how each reports an error.

/// One kind of call, named for what the caller asked and not for who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Api {
    /// `POST /v1/chat/completions`.
    Chat,
    /// `POST /v1/completions`, the older text completion.
    Completions,
    /// `POST /v1/responses`.
    Responses,
    /// `POST /v1/embeddings`.
    Embeddings,
    /// `POST /v1/rerank`.
    Rerank,
    /// `POST /v1/messages`, Anthropic's form.
    Messages,
    /// `POST /v1/messages/count_tokens`, Anthropic's form.
    CountTokens,
}

impl Api {
    /// Every API, in the order of the documentation.
    pub const ALL: [Self; 7] = [
        Self::Chat,
        Self::Completions,
        Self::Responses,
        Self::Embeddings,
        Self::Rerank,
        Self::Messages,
        Self::CountTokens,
    ];

    /// The word that `apis = [...]` uses in the configuration.
    ///
    /// Counting tokens belongs to `messages`: an endpoint that speaks the one speaks the other.
    #[must_use]
    pub const fn config_name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Completions => "completions",
            Self::Responses => "responses",
            Self::Embeddings => "embeddings",
            Self::Rerank => "rerank",
            Self::Messages | Self::CountTokens => "messages",
        }
    }

    /// The shape in which this API's callers expect an error.
    #[must_use]
    pub const fn dialect_of_errors(self) -> ErrorShape {
        match self {
            Self::Messages | Self::CountTokens => ErrorShape::Anthropic,
            Self::Chat | Self::Completions | Self::Responses | Self::Embeddings | Self::Rerank => ErrorShape::OpenAi,
        }
    }

    /// The path below the version, without a leading slash: `chat/completions`.
    pub(crate) const fn tail(self) -> &'static str {
        match self {
            Self::Chat => "chat/completions",
            Self::Completions => "completions",
            Self::Responses => "responses",
            Self::Embeddings => "embeddings",
            Self::Rerank => "rerank",
            Self::Messages => "messages",
            Self::CountTokens => "messages/count_tokens",
        }
    }

    /// Whether the call follows Anthropic's API.
    pub(crate) const fn is_anthropic(self) -> bool {
        matches!(self, Self::Messages | Self::CountTokens)
    }
}

/// The two shapes of an error body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorShape {
    /// `{"error":{"message","type","code","param"}}`.
    OpenAi,
    /// `{"type":"error","error":{"type","message","code"}}`.
    Anthropic,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counting_tokens_belongs_to_messages() {
        assert_eq!(Api::CountTokens.config_name(), "messages");
        assert_eq!(Api::Messages.config_name(), "messages");
    }

    #[test]
    fn only_the_anthropic_paths_get_anthropic_errors() {
        for api in Api::ALL {
            let anthropic = api.dialect_of_errors() == ErrorShape::Anthropic;
            assert_eq!(anthropic, api.tail().starts_with("messages"), "{api:?}");
        }
    }
}
