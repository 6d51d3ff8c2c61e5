"""Draws a face, shaded so that a detector finds it, and moves its parts by action units.

Everything is placed in the frame of the face: origin at its middle, x right, y down, 1 = half its height.
"""

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.corpora.demo.face import FaceTraits, Motion

Array = npt.NDArray[np.float64]
Image = npt.NDArray[np.uint8]

_SUBPIXEL = 4
_MOUTH_Y, _EYE_X, _EYE_Y, _BROW_Y = 0.58, 0.36, -0.16, -0.38
_ALONG = np.linspace(-1, 1, 13)
_CIRCLE = np.stack([np.cos(np.linspace(0, 2 * np.pi, 17)[:-1]), np.sin(np.linspace(0, 2 * np.pi, 17)[:-1])], axis=1)
_DARK, _WHITE, _IRIS = np.array([46.0, 24.0, 24.0]), np.array([232.0, 228.0, 222.0]), np.array([52.0, 38.0, 30.0])


class Drawer:
    """Draws one speaker's face.

    Args:
        traits: the speaker.
        px: side of the picture, pixels.
    """

    def __init__(self, traits: FaceTraits, px: int) -> None:
        """Paint what never changes: backdrop, hair, skin and its shading."""
        self.traits, self.px, self.unit = traits, px, 0.36 * px
        rows, columns = np.mgrid[0:px, 0:px]
        self._y = (rows + 0.5 - 0.52 * px) / self.unit
        self._x = (columns + 0.5 - 0.5 * px) / self.unit
        shade = 1.08 - 0.16 * rows[..., None] / px
        self.backdrop: Image = np.clip(np.array(traits.backdrop) * shade, 0, 255).astype(np.uint8)
        self._skin, self._hair = np.array(traits.skin, dtype=float), np.array(traits.hair, dtype=float)
        self._head, self._opacity = self._paint()

    def frame(self, motion: Motion, index: int) -> Image:
        """RGB picture `(px, px, 3)` of one instant."""
        picture = self._head.copy()
        self._features(
            picture, {unit: float(course[index]) for unit, course in motion.units.items()}, float(motion.head[index, 4])
        )
        right, down, roll, size, _ = motion.head[index]
        turn = cv2.getRotationMatrix2D((0.5 * self.px, 0.52 * self.px), np.degrees(roll), 1 + size)
        turn[:, 2] += np.array([right, down]) * self.unit
        side = (self.px, self.px)
        head = cv2.warpAffine(picture, turn, side, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        mask = cv2.warpAffine(self._opacity, turn, side, flags=cv2.INTER_LINEAR)
        return _blend(self.backdrop, head, mask)

    def _paint(self) -> tuple[Image, Image]:
        """Head on nothing: RGB `(px, px, 3)` and opacity `(px, px)`."""
        x, y, traits = self._x, self._y, self.traits
        soft = 1.5 / self.unit

        def inside(distance: Array) -> Array:
            return np.clip(-distance / soft + 0.5, 0, 1)[..., None]

        face = inside(_ellipse(x, y, 0.0, 0.05, traits.width, 1.0))
        bottom = 0.9 if traits.long_hair else 0.0
        hair = inside(_ellipse(x, y, 0.0, -0.12, traits.width + 0.14, 1.02)) * (y < bottom)[..., None]
        neck = inside(np.maximum(np.abs(x) - 0.34, 0.55 - y))
        fringe = inside(_ellipse(x, y, 0.0, -1.02, traits.width + 0.05, 0.47)) * np.maximum(face, hair)
        picture = np.zeros((self.px, self.px, 3)) + self._hair
        layers = [(0.8 * self._skin, neck), (self._hair, hair), (self._skin * self._relief()[..., None], face)]
        for colour, share in [*layers, (self._hair, fringe)]:
            picture += share * (colour - picture)
        opacity = 255 * np.maximum(np.maximum(face, hair), neck)[..., 0]
        return np.clip(picture, 0, 255).astype(np.uint8), opacity.astype(np.uint8)

    def _relief(self) -> Array:
        """Light on the skin, a factor `(px, px)`: sockets and the sides of the nose are darker, cheeks lighter."""
        x, y = self._x, self._y
        spots = [(-0.36, -0.16, 0.22, 0.13, -0.30), (0.36, -0.16, 0.22, 0.13, -0.30), (0.0, -0.1, 0.09, 0.3, 0.10)]
        spots += [(-0.4, 0.2, 0.22, 0.17, 0.10), (0.4, 0.2, 0.22, 0.17, 0.10), (0.0, 0.33, 0.16, 0.05, -0.22)]
        spots += [(0.0, 0.74, 0.22, 0.06, -0.10), (0.0, -0.55, 0.45, 0.2, 0.06)]
        light: Array = 1.0 - 0.25 * np.clip(np.abs(x) / self.traits.width - 0.55, 0, 1) ** 1.2
        for left, top, wide, high, height in spots:
            light = light + height * np.exp(-0.5 * (((x - left) / wide) ** 2 + ((y - top) / high) ** 2))
        return light

    def _features(self, picture: Image, unit: dict[int, float], yaw: float) -> None:
        """Draw brows, eyes, nose and mouth into `picture`; `unit` holds activations in [0, 1]."""
        for side in (-1, 1):
            self._eye(picture, unit, side, yaw)
            inner = [side * (0.17 - 0.05 * unit[4]), _BROW_Y - 0.16 * unit[1] + 0.13 * unit[4]]
            middle = [side * 0.37, _BROW_Y - 0.05 - 0.05 * unit[1] - 0.07 * unit[2] + 0.08 * unit[4]]
            outer = [side * 0.57, _BROW_Y + 0.02 - 0.12 * unit[2] + 0.02 * unit[4]]
            self._line(picture, [inner, middle, outer], yaw, self._hair, self.traits.brow)
            furrow = [[side * 0.06, -0.42], [side * 0.05, -0.28]]
            self._line(picture, furrow, yaw, self._skin * (1 - 0.55 * unit[4]), 0.03)
            self._spot(picture, side * 0.075 + 1.3 * yaw, 0.31, 0.035, 0.025, 0.4 * self._skin)
            corner = [side * (0.30 + 0.07 * unit[12]), _MOUTH_Y - 0.06 - 0.08 * unit[12]]
            fold = [[side * 0.17, 0.26], [side * 0.29, 0.36], corner]
            self._line(picture, fold, yaw, self._skin * (1 - 0.4 * max(unit[12], unit[6])), 0.025)
        self._mouth(picture, unit, 0.8 * yaw)

    def _eye(self, picture: Image, unit: dict[int, float], side: int, yaw: float) -> None:
        middle, wide = side * _EYE_X + yaw, self.traits.eye
        lids = 0.085 * (1 + 0.6 * unit[5] - 0.4 * unit[7] - 0.3 * unit[6] - 0.7 * unit[43]) * (1 - unit[45])
        high = max(lids, 0.008)
        self._spot(picture, middle, _EYE_Y, wide + 0.02, high + 0.025, 0.45 * self._skin)
        self._spot(picture, middle, _EYE_Y, wide, high, _WHITE)
        self._spot(picture, middle, _EYE_Y, 0.085, min(0.085, high), _IRIS)
        bag = np.stack([wide * _ALONG, _EYE_Y + 0.05 + high * (1 - _ALONG**2)], axis=1)
        self._line(picture, bag, middle, 0.8 * self._skin * (1 - 0.35 * max(unit[6], unit[7])), 0.03)

    def _mouth(self, picture: Image, unit: dict[int, float], yaw: float) -> None:
        wide = 0.27 + 0.10 * unit[12] - 0.10 * unit[23] + 0.02 * unit[15]
        corner = _MOUTH_Y - 0.15 * unit[12] + 0.15 * unit[15]
        gap = 0.16 * unit[26] * (1 - 0.5 * unit[23]) + 0.07 * unit[25]
        thick = 0.06 * (1 - 0.5 * unit[23])
        upper = _MOUTH_Y - 0.02 - 0.3 * gap - 0.03 * unit[17]
        lower = _MOUTH_Y + 0.02 + 0.7 * gap - 0.05 * unit[17]
        bow = 1 - _ALONG**2
        top = np.stack([wide * _ALONG, corner + (upper - corner) * bow], axis=1)
        bottom = np.stack([wide * _ALONG, corner + (lower - corner) * bow], axis=1)
        inside = self._place(np.concatenate([top, bottom[::-1]]), yaw)
        cv2.fillPoly(picture, [inside], _DARK.tolist(), cv2.LINE_AA, _SUBPIXEL)
        lips = self._skin * [0.78, 0.5, 0.5]
        self._line(picture, top, yaw, lips, thick)
        self._line(picture, bottom, yaw, lips, thick * 1.2)
        chin = [[-0.1, 0.77], [0.0, 0.75 - 0.02 * unit[17]], [0.1, 0.77]]
        self._line(picture, chin, yaw, self._skin * (0.92 - 0.25 * unit[17]), 0.03)

    def _place(self, points: npt.ArrayLike, right: float) -> npt.NDArray[np.int32]:
        """Face coordinates `(P, 2)`, moved by `right`, in fractions of a pixel, as OpenCV wants them."""
        pixels = (np.asarray(points) + np.array([right, 0.0])) * self.unit + np.array([0.5, 0.52]) * self.px - 0.5
        placed: npt.NDArray[np.int32] = np.round(pixels * 2**_SUBPIXEL).astype(np.int32)
        return placed

    def _line(self, picture: Image, points: npt.ArrayLike, right: float, colour: Array, thick: float) -> None:
        width = max(round(thick * self.unit), 1)
        cv2.polylines(picture, [self._place(points, right)], False, colour.tolist(), width, cv2.LINE_AA, _SUBPIXEL)

    def _spot(self, picture: Image, x: float, y: float, wide: float, high: float, colour: Array) -> None:
        rim = np.array([0.0, y]) + _CIRCLE * [wide, high]
        cv2.fillPoly(picture, [self._place(rim, x)], colour.tolist(), cv2.LINE_AA, _SUBPIXEL)


def _ellipse(x: Array, y: Array, left: float, top: float, wide: float, high: float) -> Array:
    """Roughly the signed distance from an ellipse: below zero inside."""
    inside: Array = (np.hypot((x - left) / wide, (y - top) / high) - 1) * min(wide, high)
    return inside


def _blend(below: Image, above: Image, opacity: Image) -> Image:
    share = opacity[..., None].astype(np.uint16)
    return ((above * share + below * (255 - share)) // 255).astype(np.uint8)
