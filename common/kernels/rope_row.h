#pragma once

// One position and one row of the rotary embedding, per level. Internal to this room.

#include <cstddef>

namespace tessera::kernels {

// Up to here the vector form reduces angles to within 1e-7; beyond it the plain one is taken.
inline constexpr float kRopeVectorPositionMax = 524288.0f;

// cos and sin of position * frequencies[i] for i < half. cosines and sines have room for half
// rounded up to 8.
using RopeAngles = void (*)(const float* frequencies, size_t half, float position, float* cosines,
                            float* sines);
void RopeAnglesReference(const float* frequencies, size_t half, float position, float* cosines,
                         float* sines);
void RopeAnglesAvx2(const float* frequencies, size_t half, float position, float* cosines,
                    float* sines);

// Turns every head of one row: x [heads, 2 * half].
using RopeRotate = void (*)(const float* cosines, const float* sines, size_t half, size_t heads,
                            float* x);
void RopeRotateReference(const float* cosines, const float* sines, size_t half, size_t heads,
                         float* x);
void RopeRotateAvx2(const float* cosines, const float* sines, size_t half, size_t heads, float* x);

}  // namespace tessera::kernels
