/** The name under which the bare device stands in a row. */
export const DEVICE = 'bare device'
