//! What stands in journals, beside the database, for somebody who only reads: nothing is locked, changed or waited for.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use crate::entry::{Entry, Opening};
use crate::journal::{Read, Reader, in_order};
use crate::keeper::LedgerError;

/// What is in no entry.
#[derive(Debug, Default)]
pub struct Unsettled {
    /// Requests that run, or whose process died: the next one that starts settles those at what they hold.
    pub open: Vec<Opening>,
    /// Lines of journals that nobody can read.
    pub damaged: u64,
}

/// The place of an entry in the order in which the database gives them: when it began, and its request.
type Place = (u64, Arc<str>);

/// The journals of a folder, whoever writes them. The database may have what is settled as well: it takes that within a second
/// while a gateway runs, and that of a process that died when the next one starts.
#[derive(Debug, Default)]
pub(crate) struct Journaled {
    settled: BTreeMap<Place, Entry>,
    open: BTreeMap<Place, Opening>,
    damaged: u64,
}

impl Journaled {
    /// Reads what began in `[from_ms, to_ms)`. Where it is read before the database, whatever was settled by then is in one of the
    /// two.
    ///
    /// # Errors
    ///
    /// [`LedgerError`] where one cannot be read.
    pub(crate) fn read(folder: &Path, (from_ms, to_ms): (u64, u64)) -> Result<Self, LedgerError> {
        let failed = |path: &Path, source| LedgerError::Folder { path: path.to_owned(), source };
        let is_within = |opening: &Opening| (from_ms..to_ms).contains(&opening.at_ms);
        let mut journaled = Self::default();
        let mut readers: HashMap<String, Reader> = HashMap::new();
        let journals = match in_order(folder) {
            Ok(journals) => journals,
            // No gateway runs on this machine.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(journaled),
            Err(error) => return Err(failed(folder, error)),
        };
        for (process, path) in journals {
            let bytes = match std::fs::read(&path) {
                Ok(bytes) => bytes,
                // It was replaced or taken since: the database has all that was settled in it.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(failed(&path, error)),
            };
            let mut read = Read::default();
            readers.entry(process).or_default().take(&bytes, &mut read);
            let settled = read.entries.into_iter().filter(|entry| is_within(&entry.opening));
            journaled.settled.extend(settled.map(|entry| (place_of(&entry.opening), entry)));
            journaled.damaged += read.damaged;
        }
        let open = readers.into_values().flat_map(|reader| reader.open.into_values()).filter(is_within);
        journaled.open = open.map(|opening| (place_of(&opening), opening)).collect();
        Ok(journaled)
    }

    /// Hands on the next entry of the database, behind those that began before it and that the database has not.
    pub(crate) fn hand_on(&mut self, entry: Entry, each: &mut impl FnMut(Entry)) {
        let place = place_of(&entry.opening);
        // What began in the same millisecond may come yet.
        while let Some(first) = self.settled.first_entry().filter(|first| first.key().0 < place.0) {
            each(first.remove());
        }
        self.settled.remove(&place);
        // Whoever started meanwhile has settled it.
        self.open.remove(&place);
        each(entry);
    }

    /// Hands on what is left when the database has given all that it has, and says what nobody has settled.
    pub(crate) fn finish(self, each: impl FnMut(Entry)) -> Unsettled {
        self.settled.into_values().for_each(each);
        Unsettled { open: self.open.into_values().collect(), damaged: self.damaged }
    }
}

fn place_of(opening: &Opening) -> Place {
    (opening.at_ms, Arc::clone(&opening.request))
}
