//! Text as a reader would see it, out of JSON as it was written.
//!
//! - [`letters`] undoes escapes and folds what looks the same.
//! - [`strings`] finds every string of a body, and says where it stands.
//! - [`sheet`] gathers strings into one text, so that a thousand short ones cost one search.
//! - [`twofold`] brings together what two readings of one text find.
//! - [`reader`] brings these together and searches what they give.
//! - [`media`] tells what is not text from what is.
//! - [`packing`] undoes base64 and writes it again.
//! - [`unpacked`] gathers the texts that were packed.
//! - [`paths`] names the places afterwards.

pub(crate) mod letters;
pub(crate) mod media;
pub(crate) mod packing;
pub(crate) mod paths;
pub(crate) mod reader;
pub(crate) mod sheet;
pub(crate) mod strings;
pub(crate) mod twofold;
pub(crate) mod unpacked;
