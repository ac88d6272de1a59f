//! Input items of the Responses API: is one written out, or is it only a reference to what the provider has stored?

/// Which of the members that make up an item say something, as a set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Substance(u16);

impl Substance {
    const NONE: Self = Self(0);
    const CONTENT: Self = Self(1);
    const ENCRYPTED: Self = Self(1 << 1);
    const SUMMARY: Self = Self(1 << 2);
    /// What a model called a tool with.
    const CALL: Self = Self(1 << 3);
    const OUTPUT: Self = Self(1 << 4);
    const RESULT: Self = Self(1 << 5);
    const ACTION: Self = Self(1 << 6);
    const CODE: Self = Self(1 << 7);
    const TOOLS: Self = Self(1 << 8);

    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether a member that would be of this substance is, by what is written of it and whether that holds text.
    pub(super) fn is_in(self, written: &[u8], has_text: bool) -> bool {
        match self {
            Self::NONE => false,
            // Parts without text are as good as none; there the id alone would matter.
            Self::SUMMARY => has_text,
            // A tool without parameters is called with nothing.
            Self::CALL if written.starts_with(b"\"") => true,
            _ => says_something(written),
        }
    }
}

/// The substance that a member with this name is; compared exactly, as it leads to no finding.
pub(super) fn substance_of(name: &[u8]) -> Substance {
    match name {
        b"content" => Substance::CONTENT,
        b"encrypted_content" => Substance::ENCRYPTED,
        b"summary" => Substance::SUMMARY,
        b"arguments" | b"input" => Substance::CALL,
        b"output" => Substance::OUTPUT,
        b"result" | b"results" => Substance::RESULT,
        b"action" | b"actions" | b"operation" => Substance::ACTION,
        b"code" => Substance::CODE,
        b"tools" => Substance::TOOLS,
        _ => Substance::NONE,
    }
}

/// Whether an item of this type, which has an id, has nothing of what makes such an item.
///
/// Each type has its own list: what another type is made of does not fill this one.
pub(super) fn is_bare(kind: Option<&[u8]>, has: Substance) -> bool {
    let makes = match kind.unwrap_or(b"message") {
        b"message" => Substance::CONTENT,
        b"reasoning" | b"compaction" | b"compaction_summary" => {
            Substance::CONTENT.and(Substance::ENCRYPTED).and(Substance::SUMMARY)
        }
        b"function_call" | b"custom_tool_call" | b"mcp_call" | b"mcp_approval_request" | b"tool_search_call" => {
            Substance::CALL
        }
        b"mcp_list_tools" | b"tool_search_output" | b"additional_tools" => Substance::TOOLS,
        b"image_generation_call" | b"file_search_call" => Substance::RESULT,
        b"code_interpreter_call" => Substance::CODE,
        b"web_search_call" | b"computer_call" | b"local_shell_call" | b"shell_call" | b"apply_patch_call" => {
            Substance::ACTION
        }
        output if output.ends_with(b"_output") => Substance::OUTPUT,
        _ => Substance(!Substance::CALL.0),
    };
    has.0 & makes.0 == 0
}

/// Whether a value, as written, says anything: null, false and what is empty do not.
fn says_something(written: &[u8]) -> bool {
    match written {
        b"null" | b"false" => false,
        [b'"' | b'[' | b'{', inner @ .., _] => !inner.trim_ascii().is_empty(),
        _ => true,
    }
}
