//! How results are shown: numbers, columns of text, pictures. In: what runs reached. Out: text, SVG, PNG; nothing is
//! read or written here but the fonts of the machine.

pub(crate) mod axis;
mod clip;
mod columns;
mod costs;
mod divided;
mod labels;
mod names;
mod notes;
pub(crate) mod numbers;
mod pens;
mod picture;
mod raster;

pub(crate) use columns::Columns;
pub(crate) use costs::{by_step as costs_by_step, currency, price_header};
pub(crate) use divided::Divided;
pub(crate) use notes::unfinished;
pub(crate) use picture::{Across, Line, Picture};
pub(crate) use raster::Rasteriser;
