export { FrameAbsent } from './frame-source.js'
export type { FrameSource } from './frame-source.js'
export { COMMON_PREFIX, END, KEY } from './contract.js'
export type { ArtIndexContract, CursorContract, CursorOptions, CursorStep } from './contract.js'
