//! Reads single fields of flatbuffers, each access checked against the bytes. Verifying whole buffers first, as the
//! generated readers need it, takes longer than adding up the predictions that they describe.

/// A table, or a struct in a vector: bytes and where in them it begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// Where a table has a field.
enum Place {
    At(usize),
    LeftOut,
}

impl<'a> Table<'a> {
    /// The root table of a buffer.
    pub(super) fn root(bytes: &'a [u8]) -> Option<Self> {
        Self { bytes, at: 0 }.follow(0)
    }

    /// A number of the field with that index, or the default if the table leaves it out.
    pub(super) fn i64(self, field: usize) -> Option<i64> {
        self.scalar(field, i64::from_le_bytes)
    }

    /// See [`Table::i64`].
    pub(super) fn i32(self, field: usize) -> Option<i32> {
        self.scalar(field, i32::from_le_bytes)
    }

    /// See [`Table::i64`].
    pub(super) fn i16(self, field: usize) -> Option<i16> {
        self.scalar(field, i16::from_le_bytes)
    }

    /// See [`Table::i64`].
    pub(super) fn u8(self, field: usize) -> Option<u8> {
        self.scalar(field, u8::from_le_bytes)
    }

    /// Whether the table has that field.
    pub(super) fn has(self, field: usize) -> Option<bool> {
        Some(matches!(self.place(field)?, Place::At(_)))
    }

    /// The table that a field refers to.
    pub(super) fn table(self, field: usize) -> Option<Self> {
        match self.place(field)? {
            Place::At(place) => self.follow(place),
            Place::LeftOut => None,
        }
    }

    /// The text of a field.
    pub(super) fn text(self, field: usize) -> Option<&'a str> {
        let start = self.table(field)?.at;
        let length = usize::try_from(u32::from_le_bytes(self.read(start)?)).ok()?;
        let text = self.bytes.get(start.checked_add(4)?..)?.get(..length)?;
        std::str::from_utf8(text).ok()
    }

    /// The tables of a vector.
    pub(super) fn tables(self, field: usize) -> Option<impl Iterator<Item = Option<Self>>> {
        let (start, count) = self.vector(field, 4)?;
        Some((0..count).map(move |index| self.follow(start + 4 * index)))
    }

    /// Pairs of numbers: a vector of structs of two.
    pub(super) fn pairs(self, field: usize) -> Option<impl Iterator<Item = Option<(i64, i64)>>> {
        let (start, count) = self.vector(field, 16)?;
        let number = move |at: usize| Some(i64::from_le_bytes(self.read(at)?));
        Some((0..count).map(move |index| {
            let at = start + 16 * index;
            Some((number(at)?, number(at + 8)?))
        }))
    }

    /// Start and length of a vector, all of whose elements lie in the bytes.
    fn vector(self, field: usize, size: usize) -> Option<(usize, usize)> {
        let at = self.table(field)?.at;
        let count = usize::try_from(u32::from_le_bytes(self.read(at)?)).ok()?;
        let start = at.checked_add(4)?;
        let end = start.checked_add(count.checked_mul(size)?)?;
        (end <= self.bytes.len()).then_some((start, count))
    }

    fn scalar<const N: usize, T: Default>(self, field: usize, read: fn([u8; N]) -> T) -> Option<T> {
        match self.place(field)? {
            Place::At(place) => Some(read(self.read(place)?)),
            Place::LeftOut => Some(T::default()),
        }
    }

    /// Where a field lies; `None` if the table has no valid directory of its fields.
    fn place(self, field: usize) -> Option<Place> {
        let back = i32::from_le_bytes(self.read(self.at)?);
        let directory = usize::try_from(i64::try_from(self.at).ok()? - i64::from(back)).ok()?;
        let size = usize::from(u16::from_le_bytes(self.read(directory)?));
        let entry = 4 + 2 * field;
        if entry + 2 > size {
            return Some(Place::LeftOut);
        }
        let offset = u16::from_le_bytes(self.read(directory.checked_add(entry)?)?);
        match offset {
            0 => Some(Place::LeftOut),
            _ => Some(Place::At(self.at.checked_add(usize::from(offset))?)),
        }
    }

    /// What the offset at `place` points to.
    fn follow(self, place: usize) -> Option<Self> {
        let offset = usize::try_from(u32::from_le_bytes(self.read(place)?)).ok()?;
        let at = place.checked_add(offset)?;
        (at < self.bytes.len()).then_some(Self { at, ..self })
    }

    fn read<const N: usize>(self, at: usize) -> Option<[u8; N]> {
        self.bytes.get(at..)?.first_chunk().copied()
    }
}
