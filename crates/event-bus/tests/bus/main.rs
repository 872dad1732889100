//! What the bus promises, on real PostgreSQL and both transports.

mod handling;
mod letters;
mod publishing;
mod relaying;
mod support;
