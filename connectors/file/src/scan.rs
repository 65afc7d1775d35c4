//! Which files there are, and in which order they are read.
//!
//! Initial before incremental; by date; then institutions → staff → projects → products → customers → consumption → write-offs →
//! relations (the schemas' `file.order`); then the envelope's time stamp; then INSERT, UPDATE, DELETE; then name.

use std::io;

use crate::envelope::Envelope;
use crate::forms::{Forms, hint};
use crate::options::{Part, Selection};
use crate::splitter::Outline;
use crate::tree::{Signature, Tree, named, split};

/// Start of the paths of initial files.
pub(crate) const INITIAL: &str = "initial/";

/// Where a file stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// Under `initial/`; of this institution.
    Initial { institution: Option<String> },
    /// Under `incremental/pending/<date>/`.
    Incremental { date: String },
    /// Somewhere where nothing is read.
    Misplaced { initial: bool },
}

/// A file that may be read.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) path: String,
    pub(crate) place: Place,
    pub(crate) signature: Signature,
    /// Entity, where the name says one.
    pub(crate) entity: Option<String>,
    order: u32,
}

impl Candidate {
    /// File name without folders.
    pub(crate) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// What files are sorted by before anything is read of them; files with the same one need a look inside.
    pub(crate) fn group(&self) -> (bool, &str, u32) {
        let date = match &self.place {
            Place::Incremental { date } => date,
            Place::Initial { .. } | Place::Misplaced { .. } => "",
        };
        (!self.is_initial(), date, self.order)
    }

    /// Whether it stays where it is.
    pub(crate) fn is_initial(&self) -> bool {
        matches!(self.place, Place::Initial { .. } | Place::Misplaced { initial: true })
    }

    /// INSERT, UPDATE, DELETE as the name says it.
    pub(crate) fn hinted_rank(&self) -> u8 {
        hint(self.name()).map_or(0, |operation| operation as u8)
    }
}

/// All candidates of a selection, sorted by group and name.
pub(crate) fn list(tree: &Tree, forms: &Forms, selection: &Selection) -> io::Result<Vec<Candidate>> {
    let mut found = Lister { tree, forms, found: Vec::new() };
    if !matches!(selection.part, Part::Incremental { .. }) {
        found.initial()?;
    }
    if !matches!(selection.part, Part::Initial) {
        found.pending(selection)?;
    }
    let mut found = found.found;
    sort(&mut found);
    Ok(found)
}

/// By group, then by path.
pub(crate) fn sort(found: &mut [Candidate]) {
    found.sort_by(|one, other| one.group().cmp(&other.group()).then_with(|| one.path.cmp(&other.path)));
}

/// Why a file fails by its place and name alone.
pub(crate) fn refusal(candidate: &Candidate, forms: &Forms) -> Option<String> {
    match &candidate.place {
        Place::Misplaced { initial: true } => {
            Some("files stand in initial/common/ or initial/institutions/<code>/, in no folder below; move it there".to_owned())
        }
        Place::Misplaced { initial: false } => {
            Some("files stand in incremental/pending/<YYYY-MM-DD>/, in no folder below; move it there".to_owned())
        }
        _ if candidate.entity.is_none() => {
            Some(format!("its name says not what it holds; a name starts with one of: {}", forms.stems()))
        }
        _ => None,
    }
}

/// The envelope of a file, or what stands for it: an array where arrays belong, an envelope where those do.
pub(crate) fn envelope_of(candidate: &Candidate, outline: Outline, found: &Envelope) -> Result<Envelope, String> {
    match (&candidate.place, outline) {
        (Place::Initial { institution }, Outline::Array) => {
            Ok(Envelope { operation: Some("INSERT".to_owned()), institution: institution.clone(), ..Envelope::default() })
        }
        (Place::Initial { .. }, _) => {
            Err("files under initial/ hold an array of records; an envelope goes to incremental/pending/<YYYY-MM-DD>/".to_owned())
        }
        (_, Outline::Envelope) => found.check(candidate.name()).map(|_| found.clone()),
        _ => Err(
            "files in incremental/pending/ hold an envelope {\"operation\", \"timestamp\", \"institution_code\", \"data\": […]}"
                .to_owned(),
        ),
    }
}

struct Lister<'l> {
    tree: &'l Tree,
    forms: &'l Forms,
    found: Vec<Candidate>,
}

impl Lister<'_> {
    fn initial(&mut self) -> io::Result<()> {
        let misplaced = Place::Misplaced { initial: true };
        let mut astray = self.files("initial", &misplaced)?;
        astray.retain(|folder| !matches!(folder.as_str(), "initial/common" | "initial/institutions"));
        astray.extend(self.files("initial/common", &Place::Initial { institution: None })?);
        for folder in self.files("initial/institutions", &misplaced)? {
            let institution = Some(split(&folder).1.to_owned());
            astray.extend(self.files(&folder, &Place::Initial { institution })?);
        }
        self.astray(astray, &misplaced)
    }

    fn pending(&mut self, selection: &Selection) -> io::Result<()> {
        const PENDING: &str = "incremental/pending";
        let misplaced = Place::Misplaced { initial: false };
        let folders = match &selection.part {
            Part::Incremental { date: Some(only) } => {
                let of_date = self.tree.entries(PENDING)?.into_iter().filter(|entry| entry.is_dir && entry.name == *only);
                of_date.map(|entry| format!("{PENDING}/{}", entry.name)).collect()
            }
            _ => self.files(PENDING, &misplaced)?,
        };
        let mut astray = Vec::new();
        for folder in folders {
            match split(&folder).1 {
                date if crate::convert::time::date(date).is_some() => {
                    let date = date.to_owned();
                    astray.extend(self.files(&folder, &Place::Incremental { date })?);
                }
                _ => astray.push(folder),
            }
        }
        self.astray(astray, &misplaced)
    }

    /// Folders in which nothing is read, with all below them: what was dropped there must not lie unseen.
    fn astray(&mut self, mut folders: Vec<String>, place: &Place) -> io::Result<()> {
        while let Some(folder) = folders.pop() {
            folders.extend(self.files(&folder, place)?);
        }
        Ok(())
    }

    /// Takes the files of a folder; returns the paths of the folders in it.
    fn files(&mut self, folder: &str, place: &Place) -> io::Result<Vec<String>> {
        let mut folders = Vec::new();
        for entry in self.tree.entries(folder)? {
            let path = format!("{folder}/{}", entry.name);
            let name = entry.name.to_lowercase();
            if !name.ends_with(".json") || name.ends_with(".result.json") {
                if entry.is_dir {
                    folders.push(path);
                } else if entry.is_link {
                    self.tree.pass_over(&path, "links are not followed; put the folder or file itself there");
                }
                continue;
            }
            let signature = match self.tree.signature(&path) {
                Ok(signature) => signature,
                // Gone since the folder was read.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(named(&path, &error)),
            };
            let form = self.forms.of_file(&entry.name);
            let (order, entity) = form.map_or((0, None), |form| (form.reading_order(), Some(form.entity.name.clone())));
            self.found.push(Candidate { path, place: place.clone(), signature, entity, order });
        }
        Ok(folders)
    }
}
