"""Draws made-up faces with known landmarks, so that training and aligning can be tested without anybody's photograph.

A face is a set of 3-D points in *face units*: half the usual distance between the pupils is one unit, the eyes lie at
y = 0, y points down, x to the right of the picture and z out of it, towards the camera. A picture is drawn in steps:

1. `geometry`: the points are turned by the pose and projected, so that the nose moves more than the ears (parallax);
2. `painting`: flat colours (skin, hair, lips, eyes, occluders) are painted on a `frame` as anti-aliased polygons: the
   albedo;
3. `light`: a height map made of Gaussian bumps (nose, brow ridge, lips, ...) gives the shading under one distant light;
4. `render`: the frame is warped into the picture, and `camera` degrades it: gain, blur, noise, JPEG.

Everything is a pure function of a `FaceIdentity` (who) and a `Nuisance` (under what circumstances). Pixels repeat
exactly on one machine; another processor or another version of OpenCV may round a grey level differently.
"""
