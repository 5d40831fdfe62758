// A QR code as half blocks for a terminal, black on white whatever the terminal's own colours are.

/** ISO/IEC 18004 asks for four modules around a code; cameras do with two, and a terminal is small. */
const BORDER = 2;
const BLACK_ON_WHITE = '\x1b[30;107m';
const PLAIN = '\x1b[0m';

export interface QrCode {
  readonly width: number;
  readonly text: string;
}

/** Two rows of modules in each line. */
export async function qrCode(content: string): Promise<QrCode> {
  const { encode } = await import('uqr');
  const { data } = encode(content, { ecc: 'L', border: BORDER });
  const lines: string[] = [];
  for (let row = 0; row < data.length; row += 2) {
    const upper = data[row] ?? [];
    const lower = data[row + 1] ?? [];
    const blocks = upper.map((dark, column) => block(dark, lower[column] === true));
    lines.push(`${BLACK_ON_WHITE}${blocks.join('')}${PLAIN}`);
  }
  return { width: data[0]?.length ?? 0, text: lines.join('\n') };
}

function block(upper: boolean, lower: boolean): string {
  if (upper) return lower ? '█' : '▀';
  return lower ? '▄' : ' ';
}
