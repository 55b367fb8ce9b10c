//! Rectangles in proportion: the squarified treemap of Bruls, Huizing and van Wijk.

/// A rectangle; no side is negative.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rect {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

impl Rect {
    /// Returns what is left inside a frame, thicker at the top.
    pub(super) fn inside(self, frame: f64, top: f64) -> Self {
        Self {
            x: self.x + frame,
            y: self.y + top,
            width: (self.width - 2.0 * frame).max(0.0),
            height: (self.height - top - frame).max(0.0),
        }
    }

    fn area(self) -> f64 {
        self.width * self.height
    }
}

/// Divides a rectangle among sizes, which are positive and sorted from the largest, into pieces as square as can be.
pub(super) fn divide(sizes: &[u64], mut room: Rect) -> Vec<Rect> {
    let sum: f64 = sizes.iter().map(|size| *size as f64).sum();
    let scale = if sum > 0.0 { room.area() / sum } else { 0.0 };
    let areas: Vec<f64> = sizes.iter().map(|size| *size as f64 * scale).collect();
    let (mut pieces, mut rest) = (Vec::with_capacity(areas.len()), &areas[..]);
    while !rest.is_empty() {
        let side = room.width.min(room.height);
        let mut count = 1;
        while count < rest.len() && worst(&rest[..=count], side) <= worst(&rest[..count], side) {
            count += 1;
        }
        let (row, after) = rest.split_at(count);
        room = lay(row, room, &mut pieces);
        rest = after;
    }
    pieces
}

/// How far from square the worst piece of a row is.
fn worst(row: &[f64], side: f64) -> f64 {
    let sum: f64 = row.iter().sum();
    let ratio = |area: &f64| {
        let (long, square) = (side * side * area, sum * sum);
        if long > 0.0 && square > 0.0 { (long / square).max(square / long) } else { f64::MAX }
    };
    row.iter().map(ratio).fold(0.0, f64::max)
}

/// Lays a row along the shorter side and returns the room that is left.
fn lay(row: &[f64], room: Rect, pieces: &mut Vec<Rect>) -> Rect {
    let sum: f64 = row.iter().sum();
    let is_wide = room.width >= room.height;
    let side = if is_wide { room.height } else { room.width };
    let depth = if side > 0.0 { sum / side } else { 0.0 };
    let mut at = 0.0;
    for area in row {
        let length = if depth > 0.0 { area / depth } else { 0.0 };
        pieces.push(match is_wide {
            true => Rect { x: room.x, y: room.y + at, width: depth, height: length },
            false => Rect { x: room.x + at, y: room.y, width: length, height: depth },
        });
        at += length;
    }
    match is_wide {
        true => Rect { x: room.x + depth, width: (room.width - depth).max(0.0), ..room },
        false => Rect { y: room.y + depth, height: (room.height - depth).max(0.0), ..room },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_fill_the_room_in_proportion() {
        let room = Rect { x: 10.0, y: 20.0, width: 600.0, height: 400.0 };
        let sizes = [6, 6, 4, 3, 2, 2, 1];
        let pieces = divide(&sizes, room);
        for (piece, size) in pieces.iter().zip(sizes) {
            assert!((piece.area() - size as f64 * 10_000.0).abs() < 1e-6, "{piece:?}");
            assert!(piece.x >= 10.0 - 1e-9 && piece.x + piece.width <= 610.0 + 1e-9, "{piece:?}");
            assert!(piece.y >= 20.0 - 1e-9 && piece.y + piece.height <= 420.0 + 1e-9, "{piece:?}");
            let (long, short) = (piece.width.max(piece.height), piece.width.min(piece.height));
            assert!(long / short < 3.0, "{piece:?}");
        }
        let apart = |a: &Rect, b: &Rect| {
            a.x + a.width <= b.x + 1e-9
                || b.x + b.width <= a.x + 1e-9
                || a.y + a.height <= b.y + 1e-9
                || b.y + b.height <= a.y + 1e-9
        };
        for (index, a) in pieces.iter().enumerate() {
            assert!(pieces[index + 1..].iter().all(|b| apart(a, b)), "{a:?}");
        }
        assert!(divide(&[], room).is_empty());
        assert_eq!(divide(&[5], room), [room]);
        assert_eq!(divide(&[1, 1], Rect { width: 0.0, ..room }).len(), 2);
    }
}
