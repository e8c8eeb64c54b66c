#include "go_asm.h"
#include "textflag.h"

// FOLD multiplies the halves of acc by those of pair. The result is what acc
// and other are then, added.
#define FOLD(pair, acc, other) \
	MOVO acc, other; \
	PCLMULQDQ $0x00, pair, acc; \
	PCLMULQDQ $0x11, pair, other

// WIDEFOLD is FOLD for four times 128 bits.
#define WIDEFOLD(pair, acc, other) \
	VPCLMULQDQ $0x11, pair, acc, other; \
	VPCLMULQDQ $0x00, pair, acc, acc

// func crcFold(crc uint64, p []byte) uint64
//
// p is cut into blocks of 16 bytes, the first one filled up with zeros in
// front, which change nothing. They are dealt to the lanes X0 to X3 in turn, so
// that the last one falls to X3; the first round may leave lanes out. SI is
// where the next block begins, AX how many bytes there are behind the first
// round.
TEXT ·crcFold(SB), NOSPLIT, $0-40
	MOVQ crc+0(FP), X6
	MOVQ p_base+8(FP), SI
	MOVQ p_len+16(FP), CX
	LEAQ ·crcFolds(SB), DX
	MOVOU crcFolding_by128(DX), X15

	CMPQ CX, $16
	JB short
	MOVOU crcFolding_by512(DX), X12
	MOVOU crcFolding_by384(DX), X13
	MOVOU crcFolding_by256(DX), X14

	// crc is added to the first 8 bytes. X5 is the first block, of 1 to 16
	// bytes, X6 what the second one gets of crc.
	DECQ CX
	MOVQ CX, AX
	ANDQ $15, AX
	MOVOU (crcFolding_shift+1)(DX)(AX*1), X7
	MOVOU (crcFolding_shift+17)(DX)(AX*1), X8
	MOVOU (SI), X5
	PXOR X6, X5
	PSHUFB X7, X5
	PSHUFB X8, X6
	LEAQ 1(SI)(AX*1), SI

	SUBQ AX, CX
	MOVQ CX, AX
	ANDQ $48, CX
	SUBQ CX, AX
	CMPQ CX, $16
	JB one
	JE two
	CMPQ CX, $32
	JE three

	MOVO X5, X0
	MOVOU (SI), X1
	PXOR X6, X1
	MOVOU 16(SI), X2
	MOVOU 32(SI), X3
	ADDQ $48, SI
	JMP rounds

three:
	PXOR X0, X0
	MOVO X5, X1
	MOVOU (SI), X2
	PXOR X6, X2
	MOVOU 16(SI), X3
	ADDQ $32, SI
	JMP rounds

two:
	PXOR X0, X0
	PXOR X1, X1
	MOVO X5, X2
	MOVOU (SI), X3
	PXOR X6, X3
	ADDQ $16, SI
	JMP rounds

one:
	MOVO X5, X3
	TESTQ AX, AX
	JZ reduce

	// The second block is in the second round.
	MOVOU (SI), X0
	PXOR X6, X0
	MOVOU 16(SI), X1
	MOVOU 32(SI), X2
	MOVOU 48(SI), X8
	FOLD(X12, X3, X7)
	PXOR X8, X7
	PXOR X7, X3
	ADDQ $64, SI
	SUBQ $64, AX

rounds:
	CMPQ AX, crcFolding_wideMin(DX)
	JGE wide

narrow:
	SUBQ $64, AX
	JLT join

round:
	FOLD(X12, X0, X4)
	FOLD(X12, X1, X5)
	FOLD(X12, X2, X6)
	FOLD(X12, X3, X7)
	MOVOU (SI), X8
	MOVOU 16(SI), X9
	MOVOU 32(SI), X10
	MOVOU 48(SI), X11
	PXOR X8, X4
	PXOR X9, X5
	PXOR X10, X6
	PXOR X11, X7
	PXOR X4, X0
	PXOR X5, X1
	PXOR X6, X2
	PXOR X7, X3
	ADDQ $64, SI
	SUBQ $64, AX
	JGE round

join:
	FOLD(X13, X0, X4)
	FOLD(X14, X1, X5)
	FOLD(X15, X2, X6)
	PXOR X4, X0
	PXOR X5, X1
	PXOR X6, X2
	PXOR X0, X3
	PXOR X1, X2
	PXOR X2, X3

reduce:
	// The CRC is that of 64 zeros more: the first half goes 128 bits on, which
	// leaves 64 bits and these zeros.
	MOVO X3, X4
	PCLMULQDQ $0x10, X15, X4
	PSRLDQ $8, X3
	PXOR X4, X3

	// Barrett's division: X5 is the quotient, and its product with the
	// polynomial is taken away.
	MOVOU crcFolding_barrett(DX), X7
	MOVO X3, X5
	PCLMULQDQ $0x00, X7, X5
	MOVO X5, X6
	PCLMULQDQ $0x10, X7, X6
	PXOR X3, X6
	PSRLDQ $8, X6
	PXOR X5, X6
	MOVQ X6, ret+32(FP)
	RET

short:
	// The bytes behind the first 8 are the upper ones of the last 8.
	MOVOU crcFolding_shift(DX)(CX*1), X7
	MOVQ (SI), X3
	PXOR X6, X3
	MOVQ -8(SI)(CX*1), X5
	NEGQ CX
	LEAQ 128(CX*8), CX
	MOVQ CX, X8
	PSRLQ X8, X5
	PUNPCKLQDQ X5, X3
	PSHUFB X7, X3
	JMP reduce

wide:
	// Z0 is one round, Z1 to Z3 are the next three.
	VINSERTI128 $1, X1, Y0, Y0
	VINSERTI128 $1, X3, Y2, Y2
	VINSERTI64X4 $1, Y2, Z0, Z0
	VMOVDQU64 (SI), Z1
	VMOVDQU64 64(SI), Z2
	VMOVDQU64 128(SI), Z3
	ADDQ $192, SI
	SUBQ $448, AX
	JLT widejoin
	VBROADCASTI32X4 crcFolding_by2048(DX), Z8

wideround:
	WIDEFOLD(Z8, Z0, Z4)
	WIDEFOLD(Z8, Z1, Z5)
	WIDEFOLD(Z8, Z2, Z6)
	WIDEFOLD(Z8, Z3, Z7)
	VPTERNLOGQ $0x96, (SI), Z4, Z0 // adds all three
	VPTERNLOGQ $0x96, 64(SI), Z5, Z1
	VPTERNLOGQ $0x96, 128(SI), Z6, Z2
	VPTERNLOGQ $0x96, 192(SI), Z7, Z3
	ADDQ $256, SI
	SUBQ $256, AX
	JGE wideround

widejoin:
	ADDQ $256, AX
	VBROADCASTI32X4 crcFolding_by1536(DX), Z8
	VBROADCASTI32X4 crcFolding_by1024(DX), Z9
	VBROADCASTI32X4 crcFolding_by512(DX), Z10
	WIDEFOLD(Z8, Z0, Z4)
	WIDEFOLD(Z9, Z1, Z5)
	WIDEFOLD(Z10, Z2, Z6)
	VPTERNLOGQ $0x96, Z0, Z4, Z3
	VPTERNLOGQ $0x96, Z1, Z5, Z3
	VPTERNLOGQ $0x96, Z2, Z6, Z3
	VEXTRACTI32X4 $0, Z3, X0
	VEXTRACTI32X4 $1, Z3, X1
	VEXTRACTI32X4 $2, Z3, X2
	VEXTRACTI32X4 $3, Z3, X3
	VZEROUPPER
	JMP narrow
