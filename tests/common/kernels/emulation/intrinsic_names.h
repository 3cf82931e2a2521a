#pragma once

// Included by the compiler before the lines of a kernel: what begins with _mm512 then means the
// functions of emulated_avx512.h and emulated_products.h.

#include "tests/common/kernels/emulation/emulated_avx512.h"
#include "tests/common/kernels/emulation/emulated_products.h"

// clang-format off
#undef _mm512_add_epi32
#undef _mm512_and_si512
#undef _mm512_xor_si512
#undef _mm512_sub_epi8
#undef _mm512_mullo_epi32
#undef _mm512_max_epu32
#undef _mm512_shuffle_epi8
#undef _mm512_mul_ps
#undef _mm512_fmadd_ps
#undef _mm512_slli_epi32
#undef _mm512_srli_epi32
#undef _mm512_srli_epi16
#undef _mm512_mask_or_epi32
#undef _mm512_load_ps
#undef _mm512_load_si512
#undef _mm512_store_ps
#undef _mm512_store_si512
#undef _mm512_maskz_loadu_ps
#undef _mm512_maskz_loadu_epi16
#undef _mm256_maskz_loadu_epi16
#undef _mm512_set1_ps
#undef _mm512_set1_epi32
#undef _mm512_set1_epi8
#undef _mm512_setr_epi32
#undef _mm512_set4_epi32
#undef _mm512_inserti64x4
#undef _mm512_permutexvar_ps
#undef _mm512_maskz_permutexvar_epi8
#undef _mm512_i32gather_ps
#undef _mm512_i32scatter_epi32
#undef _mm512_cvtepi32_ps
#undef _mm512_cvtps_epi32
#undef _mm512_cvtph_ps
#undef _mm512_cvtepu16_epi32
#undef _mm512_cvtepi32_epi16
#undef _mm512_cvtsepi32_epi8
#undef _mm512_cmp_ps_mask
#undef _mm512_reduce_add_ps
#undef _mm512_reduce_add_epi32
#undef _mm512_reduce_max_epu32
#undef _mm512_dpbf16_ps
#undef _mm512_dpbusd_epi32
#undef _mm512_cvtne2ps_pbh
#undef _mm512_setzero_ps
#undef _mm512_castps_si512
#undef _mm512_castsi512_ps
#undef _mm512_castsi256_si512

#define _mm512_add_epi32                   ::tessera::emulated::AddI32
#define _mm512_and_si512                   ::tessera::emulated::And
#define _mm512_xor_si512                   ::tessera::emulated::Xor
#define _mm512_sub_epi8                    ::tessera::emulated::SubI8
#define _mm512_mullo_epi32                 ::tessera::emulated::MulLowI32
#define _mm512_max_epu32                   ::tessera::emulated::MaxU32
#define _mm512_shuffle_epi8                ::tessera::emulated::ShuffleI8
#define _mm512_mul_ps                      ::tessera::emulated::MulF32
#define _mm512_fmadd_ps                    ::tessera::emulated::FmaF32
#define _mm512_slli_epi32                  ::tessera::emulated::ShiftLeftI32
#define _mm512_srli_epi32                  ::tessera::emulated::ShiftRightI32
#define _mm512_srli_epi16                  ::tessera::emulated::ShiftRightI16
#define _mm512_mask_or_epi32               ::tessera::emulated::MaskOrI32
#define _mm512_load_ps                     ::tessera::emulated::LoadAligned<__m512>
#define _mm512_load_si512                  ::tessera::emulated::LoadAligned<__m512i>
#define _mm512_store_ps                    ::tessera::emulated::StoreAligned<__m512>
#define _mm512_store_si512                 ::tessera::emulated::StoreAligned<__m512i>
#define _mm512_maskz_loadu_ps              ::tessera::emulated::LoadMasked<__m512, float>
#define _mm512_maskz_loadu_epi16           ::tessera::emulated::LoadMasked<__m512i, uint16_t>
#define _mm256_maskz_loadu_epi16           ::tessera::emulated::LoadMasked<__m256i, uint16_t>
#define _mm512_set1_ps                     ::tessera::emulated::Set1F32
#define _mm512_set1_epi32                  ::tessera::emulated::Set1I32
#define _mm512_set1_epi8                   ::tessera::emulated::Set1I8
#define _mm512_setr_epi32                  ::tessera::emulated::SetReversed
#define _mm512_set4_epi32                  ::tessera::emulated::Set4
#define _mm512_inserti64x4                 ::tessera::emulated::InsertHalf
#define _mm512_permutexvar_ps              ::tessera::emulated::PermuteF32
#define _mm512_maskz_permutexvar_epi8      ::tessera::emulated::MaskzPermuteI8
#define _mm512_i32gather_ps                ::tessera::emulated::GatherF32
#define _mm512_i32scatter_epi32            ::tessera::emulated::ScatterI32
#define _mm512_cvtepi32_ps                 ::tessera::emulated::ToF32
#define _mm512_cvtps_epi32                 ::tessera::emulated::ToI32
#define _mm512_cvtph_ps                    ::tessera::emulated::HalfToF32
#define _mm512_cvtepu16_epi32              ::tessera::emulated::WidenU16
#define _mm512_cvtepi32_epi16              ::tessera::emulated::TruncateToI16
#define _mm512_cvtsepi32_epi8              ::tessera::emulated::SaturateToI8
#define _mm512_cmp_ps_mask                 ::tessera::emulated::CompareF32
#define _mm512_reduce_add_ps               ::tessera::emulated::ReduceAddF32
#define _mm512_reduce_add_epi32            ::tessera::emulated::ReduceAddI32
#define _mm512_reduce_max_epu32            ::tessera::emulated::ReduceMaxU32
#define _mm512_dpbf16_ps                   ::tessera::emulated::DotBf16
#define _mm512_dpbusd_epi32                ::tessera::emulated::DotU8I8
#define _mm512_cvtne2ps_pbh                ::tessera::emulated::TwoToBf16
#define _mm512_setzero_ps()                ::tessera::emulated::Set1F32(0.0f)
#define _mm512_castps_si512(v)             std::bit_cast<__m512i>(v)
#define _mm512_castsi512_ps(v)             std::bit_cast<__m512>(v)
#define _mm512_castsi256_si512(v)          ::tessera::emulated::Join(v, __m256i{})
// clang-format on
