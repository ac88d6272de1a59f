//! `[policy] data`: a folder with a data pack, in place of the one that comes with this version.

use std::path::Path;
use std::sync::Arc;

use super::super::data_pack::{DataPack, PACK_FILES};
use super::super::document::Document;
use super::super::mistakes::MistakeKind;
use super::super::report::quote;
use super::Check;
use super::rules::read_bounded;

impl Check<'_> {
    /// The pack in force. A folder that cannot be used is reported; the shipped pack then stands in only to find further mistakes.
    pub(super) fn data_pack(&mut self, document: &Document) -> Arc<DataPack> {
        let shipped = Arc::clone(DataPack::shipped());
        let Some(written) = document.policy.as_ref().and_then(|policy| policy.data.as_deref()) else { return shipped };
        let mark = self.root.at("policy").at("data").mark();
        let Some(files) = self.pack_files(written) else { return shipped };
        let pack = match DataPack::of(files) {
            Ok(pack) => Arc::new(pack),
            Err(error) => {
                let message = format!("`policy.data`: {} is no data pack: {error}", quote(written));
                let remedy =
                    "`pack.json` names the SHA-256 of each file, and `causeway schema --data-pack` is their form";
                self.report.mend(MistakeKind::Material, mark, message, remedy);
                return shipped;
            }
        };
        // Both are days, and compare as texts.
        if pack.version < shipped.version {
            let message = format!(
                "`policy.data`: the data pack of {} is older than that of this version, {}",
                pack.version, shipped.version
            );
            self.warn(mark, message, "take a newer one, or leave `data` out");
        }
        pack
    }

    /// The texts of the four files; reported and `None` where one cannot be read.
    fn pack_files(&mut self, written: &str) -> Option<Vec<(String, String)>> {
        let mark = self.root.at("policy").at("data").mark();
        let folder = self.path(mark, written);
        self.report.material.note(&folder);
        if let Some(kept) = &self.sources.data {
            return Some(kept.clone());
        }
        let mut files = Vec::new();
        for name in PACK_FILES {
            let file = folder.join(name);
            self.report.material.note(&file);
            match read_bounded(Path::new(&file)) {
                Ok(text) => files.push((file.display().to_string(), text)),
                Err(error) => {
                    let message = format!("`policy.data`: `{}` cannot be read: {error}", file.display());
                    let remedy = format!("a data pack is {}", PACK_FILES.join(", "));
                    self.report.mend(MistakeKind::Material, mark, message, remedy);
                    return None;
                }
            }
        }
        Some(files)
    }
}
